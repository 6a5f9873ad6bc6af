#version 330
// Bends a dressed person and looks at it. Two thirds of the work are rest positions, which patterns and hems are cut from.
uniform mat4x3 joints[24];
uniform mat4 view;        // world -> clip, the box of the crop included
uniform mat4x3 stand;     // where the figure stands and how it is turned
in vec3 place;
in vec3 normal;
in vec3 rest;
in float arm;
in float material;
in vec4 joint;
in vec4 strength;
out vec3 at;
out vec3 facing;
out vec3 cloth;
out float along;
flat out int kind;

void main() {
    mat4x3 bent = joints[int(joint.x)] * strength.x + joints[int(joint.y)] * strength.y
                + joints[int(joint.z)] * strength.z + joints[int(joint.w)] * strength.w;
    vec3 world = stand * vec4(bent * vec4(place, 1.0), 1.0);
    facing = mat3(stand) * (mat3(bent) * normal);
    at = world;
    cloth = rest;
    along = arm;
    kind = int(material + 0.5);
    gl_Position = view * vec4(world, 1.0);
}
