// SPDX-License-Identifier: GPL-3.0-or-later
// A Flamenco job type for Harmonize Shading: the light of the range, then chunks of frames, then a .blend file that
// shows them. Copy it into the manager's folder `scripts`. The tests check what it compiles to; it has not been tried
// on a Flamenco Manager.

const JOB_TYPE = {
    label: "Penumbra Harmonize Shading",
    description: "Light a character by its plate, frame by frame, as multilayer EXR and as single images.",
    settings: [
        { key: "frames", type: "string", required: true, default: "1-10",
          eval: "f'{C.scene.frame_start}-{C.scene.frame_end}'",
          description: "The frames that share one light. Example: '1-240'" },
        { key: "chunk_size", type: "int32", default: 5, propargs: { min: 1 }, description: "Frames of one task" },
        { key: "output", type: "string", subtype: "dir_path", required: true,
          description: "The folder that all tasks write their images into" },
        { key: "blendfile", type: "string", required: true, visible: "web",
          description: "The .blend file; no task writes it" },
    ],
};

function compileJob(job) {
    const settings = job.settings;
    const light = author.Task("light", "blender");
    light.addCommand(penumbra(settings, ["light", "--frames", settings.frames]));
    job.addTask(light);
    const collect = author.Task("collect", "blender");
    collect.addCommand(penumbra(settings, ["collect"]));
    for (const chunk of frameChunker(settings.frames, settings.chunk_size)) {
        const task = author.Task(`harmonize-${chunk}`, "blender");
        task.addCommand(penumbra(settings, ["harmonize", "--frames", chunk, "--light", settings.frames, "--multilayer"]));
        task.addDependency(light);
        collect.addDependency(task);
        job.addTask(task);
    }
    job.addTask(collect);
}

function penumbra(settings, args) {
    return author.Command("exec", {
        exe: "{blender}",
        args: ["-b", settings.blendfile, "--command", "penumbra", ...args, "--out", settings.output],
    });
}
