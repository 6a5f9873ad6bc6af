#version 330
// The soft dark patch on the ground under a person.
uniform mat4 view;
uniform vec3 patch_;      // x, y, radius
in vec2 corner;
out vec2 uv;

void main() {
    uv = corner;
    gl_Position = view * vec4(patch_.xy + corner * patch_.z * vec2(1.0, 1.2), 0.0, 1.0);
    gl_Position.z = 0.985 * gl_Position.w;  // behind every figure, and behind shadows thrown by the sun
}
