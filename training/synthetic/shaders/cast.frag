#version 330
// One depth for the whole shadow, so that where parts of the figure overlap the ground is darkened once.
uniform float dark;
out vec4 colour;

void main() {
    gl_FragDepth = 0.99;
    colour = vec4(0.0, 0.0, 0.0, dark);
}
