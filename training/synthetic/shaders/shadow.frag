#version 330
uniform float dark;
in vec2 uv;
out vec4 colour;

void main() { colour = vec4(0.0, 0.0, 0.0, dark * smoothstep(1.0, 0.1, length(uv))); }
