#version 330
// A background plate behind everything, seen through the crop's window.
uniform vec4 window;      // left, bottom, width, height in the plate, 0 to 1
in vec2 corner;
out vec2 uv;

void main() {
    uv = window.xy + (corner * 0.5 + 0.5) * window.zw;
    gl_Position = vec4(corner, 0.9999, 1.0);
}
