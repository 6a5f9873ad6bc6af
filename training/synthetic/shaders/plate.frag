#version 330
uniform sampler2DArray plates;
uniform float plate;
in vec2 uv;
out vec4 colour;

void main() { colour = vec4(texture(plates, vec3(uv, plate)).rgb, 1.0); }
