#version 330
// What a dressed person looks like: where garments end, what is printed on them, and how light falls on it.
uniform vec4 colours[30];     // three a material, linear light
uniform vec4 pattern[10];     // a material's pattern, scale, phase, roughness of its folds
uniform vec4 cut;             // sleeve, hem, waist, collar
uniform vec3 cut2;            // leg, hip, open front (half width)
uniform vec4 head;            // centre and half height
uniform vec3 style;           // hair, hat, height of the sole
uniform vec4 strap;           // kind 0 none 1 backpack 2 shoulder; side; shoulder height; hip height
uniform vec3 light;
uniform vec3 eye;
uniform float ambient;
uniform sampler3D grain;     // smooth noise, a cell a unit, repeated every 32
in vec3 at;
in vec3 facing;
in vec3 cloth;
in float along;
flat in int kind;
out vec4 colour;

// Software rasterisers run every branch for every pixel: so there is one call of each costly thing, and selection is arithmetic.

vec3 printed(int m, int p, float speckle) {
    vec3 a = colours[3 * m].rgb, b = colours[3 * m + 1].rgb, c = colours[3 * m + 2].rgb;
    float scale = pattern[m].y, phase = pattern[m].z;
    float around = atan(cloth.x, -cloth.y) * 0.16 + along * 0.5;
    vec2 uv = vec2(around, cloth.z) / scale + phase;
    float second = 0.0;  // how much of the second colour
    float share = (cloth.z - cut2.y) / max(cut.w - cut2.y, 0.1);
    if (p == 1) second = step(fract(uv.y * 9.0), 0.35 + 0.3 * phase);
    if (p == 2) second = step(fract(uv.x * 14.0), 0.35);
    if (p == 3) second = 0.5 * (step(fract(uv.x * 11.0), 0.4) + step(fract(uv.y * 9.0), 0.4));
    if (p == 4) second = step(length(fract(uv * 12.0) - 0.5), 0.24);
    if (p == 5) second = step(0.35 + 0.4 * phase, share);
    if (p == 6) {
        vec2 d = vec2(cloth.x, cloth.z - mix(cut2.y, cut.w, 0.68)) / (0.09 * min(scale, 1.3));
        second = step(abs(d.x), 1.0) * step(abs(d.y), 0.75) * step(0.42, speckle) * step(cloth.y, phase > 0.6 ? 9.0 : 0.0);
    }
    if (p == 7) second = clamp((cloth.z - cut2.y) / 0.5, 0.0, 1.0);
    if (p == 8) return speckle < 0.42 ? a : speckle < 0.60 ? b : c;
    if (p == 9) return a * (0.8 + 0.5 * speckle) * (0.9 + 0.25 * step(0.06, abs(cloth.x)));
    return mix(a, b, second);
}

vec3 face(vec3 skin, vec3 d) {
    float front = step(d.y, -0.25);
    float brow = smoothstep(0.06, 0.0, abs(d.z - 0.20)) * smoothstep(0.12, 0.06, abs(abs(d.x) - 0.30));
    float eyes = smoothstep(0.07, 0.0, abs(d.z - 0.06)) * smoothstep(0.12, 0.06, abs(abs(d.x) - 0.28));
    float mouth = smoothstep(0.05, 0.0, abs(d.z + 0.50)) * smoothstep(0.22, 0.12, abs(d.x));
    skin *= 1.0 - front * (0.45 * brow + 0.55 * eyes);
    return mix(skin, skin * vec3(0.75, 0.45, 0.45), 0.6 * front * mouth);
}

bool beyond(int m, vec3 d) {
    if (m == 1) {
        float line = style.x > 4.5 ? 0.25 : 0.42;
        bool forehead = d.y < -0.15 && d.z < line + 0.35 * max(0.0, -d.y - 0.6);
        float low = style.x < 1.5 ? -0.35 : style.x < 2.5 ? -0.85 : style.x > 3.5 ? -0.35 : -2.0;
        bool cropped = d.y < 0.42 && (forehead || d.z < low * (0.4 + 0.6 * smoothstep(-0.2, 0.4, d.y)));
        return cropped || (style.y > 0.5 && d.z > 0.45);
    }
    if (m == 2 || m == 3) {
        bool sleeve = along > (m == 3 ? min(cut.x, 0.3) : cut.x);
        bool collar = cloth.z > cut.w + 0.025 - 0.30 * max(0.0, -cloth.y - 0.02);
        bool slit = m == 2 && cut2.z > 0.0 && cloth.y < 0.0 && along < 0.02 && abs(cloth.x) < cut2.z * (1.0 + 0.6 * (cut.w - cloth.z));
        return sleeve || collar || slit || (along < 0.02 && cloth.z < cut.y);
    }
    if (m == 4) return cloth.z > cut.z || cloth.z < cut2.x;
    if (m == 7) {
        float rim = style.y < 1.5 ? 0.30 : style.y < 2.5 ? 0.12 : 0.28;
        bool under = d.z < rim - 0.25 * max(0.0, d.y) && d.y * d.y + d.x * d.x < 1.1;
        bool opening = d.y < -0.25 && d.z < 0.55 && abs(d.x) < 0.75;
        return style.y < 3.5 ? under : opening;
    }
    return false;
}

void main() {
    int m = kind;
    vec3 d = (cloth - head.xyz) / head.w;
    if (beyond(m, d)) discard;
    int p = int(pattern[m].x + 0.5);
    float scale = pattern[m].y, phase = pattern[m].z, rough = pattern[m].w;
    vec3 where = m == 1 ? cloth * vec3(90.0, 90.0, 25.0)
               : p == 6 ? vec3(cloth.x * 33.0, phase * 50.0, cloth.z * 33.0)
               : cloth * (p == 9 ? 9.0 : 11.0 / scale) + phase * 40.0;
    float speckle = texture(grain, where / 32.0).r;
    vec3 base = printed(m, p, speckle);
    if (m == 0) base = face(base, d);
    if (m == 1) base *= 0.75 + 0.5 * speckle;
    if (m == 5 && cloth.z < style.z) base = colours[16].rgb;
    if (m == 2 && along < 0.08 && strap.x > 0.5) {
        bool pair = abs(abs(cloth.x) - 0.105) < 0.024 && cloth.y < 0.02 && cloth.z > mix(strap.w, strap.z, 0.5);
        float across = (cloth.x + strap.y * 0.10) - (strap.z - cloth.z) * strap.y * 0.30 / max(strap.z - strap.w, 0.1);
        if (strap.x < 1.5 ? pair : abs(across) < 0.022 && cloth.z > strap.w) base = colours[18].rgb;
    }
    vec3 bump = texture(grain, cloth * vec3(19.0, 19.0, 27.0) / 32.0).rgb - 0.5;
    vec3 n = normalize(facing);
    vec3 out_ = normalize(eye - at);
    n *= sign(dot(n, out_));
    n = normalize(n + rough * bump);
    float sky = 0.72 + 0.28 * n.z;
    float direct = max(dot(n, light), 0.0);
    float rim = 0.85 + 0.15 * max(dot(n, out_), 0.0);
    float shade = (ambient * sky + (1.0 - ambient) * 1.5 * direct) * rim;
    colour = vec4(sqrt(base * shade), 1.0);  // close enough to sRGB's curve, and quick
}
