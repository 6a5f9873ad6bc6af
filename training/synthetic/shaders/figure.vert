#version 330
// A posed figure before a camera. Patterns and hems are cut from rest positions, which stay with the cloth.
uniform mat4 view;  // world -> clip, the box of the crop included
in vec3 place;
in vec3 normal;
in vec3 rest;
in float arm;
in float material;
out vec3 at;
out vec3 facing;
out vec3 cloth;
out float along;
flat out int kind;

void main() {
    at = place;
    facing = normal;
    cloth = rest;
    along = arm;
    kind = int(material + 0.5);
    gl_Position = view * vec4(place, 1.0);
}
