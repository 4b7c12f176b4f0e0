# SPDX-License-Identifier: GPL-3.0-or-later
"""LASOR: posed, shaped bodies from silhouettes and 2D keypoints, trained on synthesized occlusions."""
