# SPDX-License-Identifier: GPL-3.0-or-later
"""Rays cast eight at a time through Embree's C interface, from a compiled loop.

embreex brings the Embree library but casts single rays only; neighbouring rays in packets take less than half the
time. Importing this module raises ImportError where that cannot work: without Numba, without an Embree 4 library
beside embreex, or on a processor without eight-wide packets. `PlainTracer` gives the same answers.
"""

from __future__ import annotations

import ctypes
import weakref
from pathlib import Path

import embreex.rtcore_scene
import llvmlite.binding
import numpy as np
from numba import njit, types

WIDTH = 8

# Rows of Embree's RTCRayHit8, each of eight 32-bit numbers (embree4/rtcore_ray.h).
_ORIGIN, _NEAR, _DIRECTION, _TIME, _FAR, _MASK = 0, 3, 4, 7, 8, 9
_U, _V, _TRIANGLE, _MESH, _ROWS = 15, 16, 17, 18, 21

# Embree's constants (embree4/rtcore_common.h, rtcore_device.h, rtcore_scene.h, rtcore_buffer.h).
_VERSION_MAJOR, _NATIVE_RAY8 = 1, 33
_ROBUST = 4
_TRIANGLES, _INDICES, _VERTICES, _UINT3, _FLOAT3 = 0, 0, 1, 0x5003, 0x9003
_COHERENT = 1 << 16


def _library() -> ctypes.CDLL:
    """The Embree library that embreex itself has loaded."""
    package = Path(embreex.rtcore_scene.__file__).parent
    folders = (package.with_name("embreex.libs"), package / ".dylibs", package)  # Linux and Windows, macOS
    found = [path for folder in folders for path in sorted(folder.glob("*embree4*"))]
    if not found:
        raise ImportError("embreex brings no Embree library")
    try:
        library = ctypes.CDLL(str(found[0]))
        llvmlite.binding.load_library_permanently(str(found[0]))  # where the compiled loops look their functions up
    except (OSError, RuntimeError) as error:
        raise ImportError(f"Embree cannot be loaded: {error}") from error
    pointer, number, size = ctypes.c_void_p, ctypes.c_uint, ctypes.c_size_t
    for name, result, arguments in (
        ("rtcNewDevice", pointer, [ctypes.c_char_p]),
        ("rtcGetDeviceProperty", ctypes.c_ssize_t, [pointer, number]),
        ("rtcGetDeviceError", number, [pointer]),
        ("rtcNewScene", pointer, [pointer]),
        ("rtcSetSceneFlags", None, [pointer, number]),
        ("rtcNewGeometry", pointer, [pointer, number]),
        ("rtcSetSharedGeometryBuffer", None, [pointer, number, number, number, pointer, size, size, size]),
        ("rtcCommitGeometry", None, [pointer]),
        ("rtcAttachGeometry", number, [pointer, pointer]),
        ("rtcReleaseGeometry", None, [pointer]),
        ("rtcCommitScene", None, [pointer]),
        ("rtcReleaseScene", None, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_embree = _library()
_device = _embree.rtcNewDevice(None)
if (
    not _device
    or _embree.rtcGetDeviceProperty(_device, _VERSION_MAJOR) != 4
    or not _embree.rtcGetDeviceProperty(_device, _NATIVE_RAY8)
):
    raise ImportError("this Embree casts no packets of eight rays")


class _Arguments(ctypes.Structure):
    """RTCIntersectArguments and RTCOccludedArguments."""

    _fields_ = (
        ("flags", ctypes.c_int),
        ("feature_mask", ctypes.c_int),
        ("context", ctypes.c_void_p),
        ("filter", ctypes.c_void_p),
        ("callback", ctypes.c_void_p),
    )


_arguments = _Arguments(_COHERENT, -1, None, None, None)


class PacketTracer:
    """Triangle meshes to cast rays at: (vertices (V, 3) float32, triangles (T, 3) int32) each, none of them empty."""

    def __init__(self, meshes: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self._scene = _embree.rtcNewScene(_device)
        self._buffers = []  # Embree reads them for as long as the scene lives
        _embree.rtcSetSceneFlags(self._scene, _ROBUST)
        for vertices, triangles in meshes:
            padded = np.zeros((len(vertices) + 1, 3), np.float32)  # Embree may read 16 bytes at the last vertex
            padded[:-1] = vertices
            triangles = np.array(triangles, np.uint32, order="C")
            self._buffers += [padded, triangles]
            geometry = _embree.rtcNewGeometry(_device, _TRIANGLES)
            share = _embree.rtcSetSharedGeometryBuffer
            share(geometry, _VERTICES, 0, _FLOAT3, padded.ctypes.data, 0, 12, len(vertices))
            share(geometry, _INDICES, 0, _UINT3, triangles.ctypes.data, 0, 12, len(triangles))
            _embree.rtcCommitGeometry(geometry)
            _embree.rtcAttachGeometry(self._scene, geometry)
            _embree.rtcReleaseGeometry(geometry)  # the scene holds it
        _embree.rtcCommitScene(self._scene)
        weakref.finalize(self, _embree.rtcReleaseScene, self._scene)
        if error := _embree.rtcGetDeviceError(_device):
            raise MemoryError(f"Embree could not build the scene (error {error})")

    def nearest(
        self, origins: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Nearest hits of rays (N, 3), (N, 3) float32: distance (N,), mesh (N,) or −1, triangle (N,), uv (N, 2)."""
        count = len(origins)
        distance, uv = np.empty(count, np.float32), np.empty((count, 2), np.float32)
        mesh, triangle = np.empty((2, count), np.int32)
        lanes, packet = _aligned(1), _aligned(_ROWS)
        _nearest(
            *self._pointers(lanes, packet), lanes, packet.view(np.float32), packet,
            origins, directions, distance, mesh, triangle, uv,
        )  # fmt: skip
        return distance, mesh, triangle, uv

    def blocked(self, origins: np.ndarray, directions: np.ndarray, active: np.ndarray, t_max: float) -> np.ndarray:
        """(N, K) bool: whether active (N, K) rays hit anything nearer than t_max.

        origins: (N, 3) float32. directions: (1 or N, K, 3) float32.
        """
        blocked = np.zeros(active.shape, bool)
        lanes, packet = _aligned(1), _aligned(_ROWS)
        _blocked(
            *self._pointers(lanes, packet), lanes, packet.view(np.float32),
            origins, directions, active, np.float32(min(t_max, 1e30)), blocked,
        )  # fmt: skip
        return blocked

    def _pointers(self, lanes: np.ndarray, packet: np.ndarray) -> tuple[int, int, int, int]:
        packet[_MASK] = -1
        return lanes.ctypes.data, self._scene, packet.ctypes.data, ctypes.addressof(_arguments)


def _aligned(rows: int) -> np.ndarray:
    """(rows, 8) int32 zeros at an address that is a multiple of 64."""
    octets = np.zeros(rows * WIDTH * 4 + 64, np.uint8)
    start = -octets.ctypes.data % 64
    return octets[start : start + rows * WIDTH * 4].view(np.int32).reshape(rows, WIDTH)


_four_pointers = types.void(types.uintp, types.uintp, types.uintp, types.uintp)
_rtc_intersect = types.ExternalFunction("rtcIntersect8", _four_pointers)
_rtc_occluded = types.ExternalFunction("rtcOccluded8", _four_pointers)


@njit(nogil=True, cache=True)
def _nearest(
    lanes_at, scene, packet_at, arguments, lanes, packet, numbers, origins, directions, distance, mesh, triangle, uv
):
    """numbers is packet, read as integers."""
    for start in range(0, len(origins), WIDTH):
        count = min(WIDTH, len(origins) - start)
        for lane in range(WIDTH):
            lanes[0, lane] = -1 if lane < count else 0
        for lane in range(count):
            for axis in range(3):
                packet[_ORIGIN + axis, lane] = origins[start + lane, axis]
                packet[_DIRECTION + axis, lane] = directions[start + lane, axis]
            packet[_NEAR, lane] = packet[_TIME, lane] = 0
            packet[_FAR, lane] = np.inf
            numbers[_MESH, lane] = -1
        _rtc_intersect(lanes_at, scene, packet_at, arguments)
        for lane in range(count):
            distance[start + lane] = packet[_FAR, lane]
            mesh[start + lane] = numbers[_MESH, lane]
            triangle[start + lane] = numbers[_TRIANGLE, lane]
            uv[start + lane, 0] = packet[_U, lane]
            uv[start + lane, 1] = packet[_V, lane]


@njit(nogil=True, cache=True)
def _blocked(lanes_at, scene, packet_at, arguments, lanes, packet, origins, directions, active, t_max, blocked):
    """Packets are filled with active rays, direction by direction: such rays visit the same part of the tree."""
    points = np.empty(WIDTH, np.int64)
    for k in range(active.shape[1]):
        count = 0
        for point in range(len(origins)):
            if active[point, k]:
                toward = directions[point if len(directions) > 1 else 0, k]
                for axis in range(3):
                    packet[_ORIGIN + axis, count] = origins[point, axis]
                    packet[_DIRECTION + axis, count] = toward[axis]
                packet[_NEAR, count] = packet[_TIME, count] = 0
                packet[_FAR, count] = t_max
                points[count] = point
                count += 1
            if count == WIDTH or (count and point == len(origins) - 1):
                for lane in range(WIDTH):
                    lanes[0, lane] = -1 if lane < count else 0
                _rtc_occluded(lanes_at, scene, packet_at, arguments)
                for lane in range(count):
                    blocked[points[lane], k] = packet[_FAR, lane] < 0  # Embree's mark of a blocked ray
                count = 0
