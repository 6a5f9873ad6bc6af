#version 330
// The shadow that a posed figure throws on the ground: every vertex slides along the light down to it.
uniform mat4 view;
uniform vec3 light;
in vec3 place;

void main() {
    vec3 ground = place - light * (place.z / light.z);
    gl_Position = view * vec4(ground.xy, 0.0, 1.0);
}
