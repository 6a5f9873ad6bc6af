#version 330
// What a dressed person looks like: where garments end, what is printed on them, how they fold, and how light falls.
uniform vec4 colours[30];     // three a material, linear light
uniform vec4 pattern[10];     // a material's pattern, scale, phase, roughness of its folds
uniform vec4 cut;             // sleeve, hem, waist, collar
uniform vec4 cut2;            // leg, hip, open front (half width), height of the socks
uniform vec4 head;            // centre and half height
uniform vec4 style;           // hair, hat, height of the sole, sandals (1) or shoes (0)
uniform vec2 mask;            // glasses, beard: 0 or 1
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

// Software rasterisers run every branch for every pixel: so there are three calls of the costly thing, and selection is arithmetic.

vec3 printed(int m, int p, float speckle) {
    vec3 a = colours[3 * m].rgb, b = colours[3 * m + 1].rgb, c = colours[3 * m + 2].rgb;
    float scale = pattern[m].y, phase = pattern[m].z;
    float angle = atan(cloth.x, -cloth.y);
    float around = angle * 0.16 + along * 0.5;
    vec2 uv = vec2(around, cloth.z) / scale + phase;
    float second = 0.0;  // how much of the second colour
    float share = (cloth.z - cut2.y) / max(cut.w - cut2.y, 0.1);
    vec2 chest = vec2(cloth.x, cloth.z - mix(cut2.y, cut.w, 0.66)) / (0.11 * clamp(scale, 0.5, 1.3));
    float printedside = step(cloth.y, phase > 0.6 ? 9.0 : 0.0);
    float inside = step(abs(chest.x), 1.0) * step(abs(chest.y), 0.75) * printedside;
    if (p == 1) second = step(fract(uv.y * 9.0), 0.2 + 0.5 * phase);
    if (p == 2) second = step(fract(uv.x * 14.0), 0.35);
    if (p == 3) second = 0.5 * (step(fract(uv.x * 11.0), 0.4) + step(fract(uv.y * 9.0), 0.4));
    if (p == 4) second = step(length(fract(uv * 12.0) - 0.5), 0.24);
    if (p == 5) second = step(0.25 + 0.6 * phase, share);
    if (p == 6) {
        float picture = inside * step(0.30, speckle);
        return mix(a, speckle < 0.55 ? b : c, picture);
    }
    if (p == 7) second = clamp((cloth.z - cut2.y) / 0.5, 0.0, 1.0);
    if (p == 8) return speckle < 0.42 ? a : speckle < 0.60 ? b : c;
    if (p == 9) second = step(abs(share - 0.45 - 0.4 * phase), 0.10 * scale);
    if (p == 10) second = step(0.05, along);
    if (p == 11) second = step(abs(abs(angle) - 1.57), 0.10 + 0.35 * phase);
    if (p == 12) second = inside * step(fract(chest.y * (1.0 + 2.0 * phase) + 0.3), 0.55) * step(0.42, speckle);
    if (p == 13) return speckle < 0.56 ? a : speckle < 0.66 ? b : c;
    if (p == 14) {
        float lines = max(step(fract(uv.x * 11.0 + 0.6), 0.12), step(fract(uv.y * 9.0 + 0.6), 0.12));
        second = 0.5 * (step(fract(uv.x * 11.0), 0.45) + step(fract(uv.y * 9.0), 0.45));
        return mix(mix(a, b, second), c, 0.8 * lines);
    }
    if (p == 15) return a * (0.75 + 0.5 * speckle) * (0.88 + 0.28 * step(0.06, abs(cloth.x)));
    return mix(a, b, second);
}

vec3 face(vec3 skin, vec3 d) {
    float front = step(d.y, -0.25);
    float brow = smoothstep(0.08, 0.0, abs(d.z - 0.22)) * smoothstep(0.14, 0.06, abs(abs(d.x) - 0.30));
    float eyes = smoothstep(0.09, 0.0, abs(d.z - 0.06)) * smoothstep(0.14, 0.06, abs(abs(d.x) - 0.28));
    float mouth = smoothstep(0.07, 0.0, abs(d.z + 0.50)) * smoothstep(0.24, 0.12, abs(d.x));
    float nose = smoothstep(0.05, 0.0, abs(d.z + 0.24)) * smoothstep(0.14, 0.05, abs(d.x));
    float frame = mask.x * step(abs(d.z - 0.07), 0.11) * step(abs(abs(d.x) - 0.29), 0.22) * step(0.30, brow + abs(abs(d.x) - 0.29) * 4.0);
    float beard = mask.y * smoothstep(-0.25, -0.42, d.z) * step(d.y, 0.15) * step(-1.05, d.z) * (1.0 - mouth);
    skin *= 1.0 - front * (0.55 * brow + 0.65 * eyes + 0.30 * nose);
    skin = mix(skin, skin * vec3(0.75, 0.45, 0.45), 0.7 * front * mouth);
    return mix(mix(skin, vec3(0.02), 0.85 * front * frame), colours[3].rgb, 0.75 * beard);
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
    if (m == 5) return style.w > 0.5 && cloth.z > style.z + 0.004 && abs(fract(cloth.y * 9.0) - 0.5) < 0.28;
    if (m == 7) {
        float rim = style.y < 1.5 ? 0.30 : style.y < 2.5 ? 0.12 : 0.28;
        bool under = d.z < rim - 0.25 * max(0.0, d.y) && d.y * d.y + d.x * d.x < 1.1;
        bool opening = d.y < -0.25 && d.z < 0.55 && abs(d.x) < 0.75;
        return style.y < 3.5 ? under : opening;
    }
    return false;
}

// How much of the sky a place sees: less between the legs, at the flanks, under chin, sleeve and hem.
float open_sky(int m, vec3 d) {
    float legs = smoothstep(0.075, 0.0, abs(cloth.x)) * step(cloth.z, cut2.y);
    float flank = smoothstep(0.10, 0.19, abs(cloth.x)) * step(along, 0.02) * step(cut2.y, cloth.z);
    float chin = m == 0 ? smoothstep(-0.8, -1.1, d.z) * smoothstep(-2.4, -1.6, d.z) : 0.0;
    float hem = m == 4 ? smoothstep(0.08, 0.0, cut.y - cloth.z) : 0.0;
    float sleeve = m == 0 ? smoothstep(0.08, 0.0, along - cut.x) * step(0.02, along) : 0.0;
    float leg = m == 0 ? smoothstep(0.10, 0.0, cut2.x - cloth.z) * step(cloth.z, cut2.y) : 0.0;
    float shut = max(max(0.55 * legs, 0.40 * flank), max(max(0.5 * chin, 0.45 * hem), 0.4 * max(sleeve, leg)));
    return (1.0 - shut) * mix(0.78, 1.0, smoothstep(0.0, 0.9, cloth.z));
}

void main() {
    int m = kind;
    vec3 d = (cloth - head.xyz) / head.w;
    if (beyond(m, d)) discard;
    int p = int(pattern[m].x + 0.5);
    float scale = pattern[m].y, phase = pattern[m].z, rough = pattern[m].w;
    vec3 where = m == 1 ? cloth * vec3(90.0, 90.0, 25.0)
               : p == 6 ? vec3(cloth.x * 25.0, phase * 50.0, cloth.z * 25.0)
               : p == 12 ? vec3(cloth.x * 60.0, phase * 50.0, floor(cloth.z * 40.0) * 0.7)
               : p == 13 ? cloth * 26.0 / scale + phase * 40.0
               : cloth * (p == 15 ? 14.0 : 11.0 / scale) + phase * 40.0;
    float speckle = texture(grain, where / 32.0).r;
    vec3 base = printed(m, p, speckle);
    if (m == 0) base = cloth.z < cut2.w ? colours[17].rgb : face(base, d) * (0.92 + 0.16 * speckle);
    if (m == 1) base *= 0.6 + 0.8 * speckle;
    if (m == 5 && cloth.z < style.z) base = colours[16].rgb;
    if (m == 2 && along < 0.08 && strap.x > 0.5) {
        bool pair = abs(abs(cloth.x) - 0.105) < 0.024 && cloth.y < 0.02 && cloth.z > mix(strap.w, strap.z, 0.5);
        float across = (cloth.x + strap.y * 0.10) - (strap.z - cloth.z) * strap.y * 0.30 / max(strap.z - strap.w, 0.1);
        if (strap.x < 1.5 ? pair : abs(across) < 0.022 && cloth.z > strap.w) base = colours[18].rgb;
    }
    // Folds: long soft ones that hang and slant, and short creases across.
    vec3 slanted = vec3(cloth.x + 0.35 * cloth.z, cloth.y - 0.2 * cloth.z, cloth.z);
    vec3 fold = texture(grain, (slanted * vec3(17.0, 17.0, 6.5) + phase * 23.0) / 32.0).rgb - 0.5;
    vec3 crease = texture(grain, (cloth * vec3(21.0, 21.0, 39.0) + along * vec3(0.0, 0.0, 9.0)) / 32.0).rgb - 0.5;
    vec3 n = normalize(facing);
    vec3 out_ = normalize(eye - at);
    n *= sign(dot(n, out_));
    n = normalize(n + rough * (1.5 * fold + 1.1 * crease));
    float valley = 1.0 - rough * (0.55 * smoothstep(0.0, -0.35, fold.r) + 0.20 * smoothstep(0.0, -0.35, crease.g));
    float sky = (0.66 + 0.34 * n.z) * open_sky(m, d);
    float direct = max(dot(n, light), 0.0);
    float rim = 0.75 + 0.25 * max(dot(n, out_), 0.0);
    float shade = 1.15 * (ambient * sky + (1.0 - ambient) * 1.7 * direct) * rim * valley;
    vec3 lit = base * shade;
    colour = vec4(sqrt(lit / (0.8 + 0.35 * lit)), 1.0);  // highlights roll off; close enough to sRGB's curve, and quick
}
