#version 330
// What a dressed person looks like: where garments end, what is printed on them, and how light falls on it.
uniform vec4 colours[30];     // three a material, linear light
uniform vec4 pattern[10];     // a material's pattern, scale, phase, roughness of its folds
uniform vec4 cut;             // sleeve, hem, waist, collar
uniform vec4 cut2;            // leg, hip, open front (half width), gender
uniform vec4 head;            // centre and half height
uniform vec4 style;           // hair, hat, dressed below the hip, height of the sole
uniform vec4 strap;           // kind 0 none 1 backpack 2 shoulder; side; shoulder height; hip height
uniform vec3 light;
uniform vec3 eye;
uniform float ambient;
in vec3 at;
in vec3 facing;
in vec3 cloth;
in float along;
flat in int kind;
out vec4 colour;

float random(vec3 p) { return fract(sin(dot(p, vec3(12.9898, 78.233, 37.719))) * 43758.5453); }

float noise(vec3 p) {
    vec3 i = floor(p), f = fract(p);
    f = f * f * (3.0 - 2.0 * f);
    vec4 low = vec4(random(i), random(i + vec3(1, 0, 0)), random(i + vec3(0, 1, 0)), random(i + vec3(1, 1, 0)));
    vec4 high = vec4(random(i + vec3(0, 0, 1)), random(i + vec3(1, 0, 1)), random(i + vec3(0, 1, 1)), random(i + vec3(1, 1, 1)));
    vec4 mixed = mix(low, high, f.z);
    vec2 row = mix(mixed.xz, mixed.yw, f.x);
    return mix(row.x, row.y, f.y);
}

vec3 printed(int m) {
    vec3 a = colours[3 * m].rgb, b = colours[3 * m + 1].rgb, c = colours[3 * m + 2].rgb;
    int p = int(pattern[m].x + 0.5);
    float scale = pattern[m].y, phase = pattern[m].z;
    float around = atan(cloth.x, -cloth.y) * 0.16 + along * 0.5;
    vec2 uv = vec2(around, cloth.z) / scale + phase;
    if (p == 1) return fract(uv.y * 9.0) < 0.35 + 0.3 * phase ? b : a;
    if (p == 2) return fract(uv.x * 14.0) < 0.35 ? b : a;
    if (p == 3) {
        float x = step(fract(uv.x * 11.0), 0.4), y = step(fract(uv.y * 9.0), 0.4);
        return mix(a, b, 0.5 * (x + y)) * (1.0 - 0.25 * step(fract(uv.y * 9.0 + 0.3), 0.1));
    }
    if (p == 4) return length(fract(uv * 12.0) - 0.5) < 0.24 ? b : a;
    if (p == 5) {
        float height = (cloth.z - cut2.y) / max(cut.w - cut2.y, 0.1);
        return height > 0.35 + 0.4 * phase ? b : a;
    }
    if (p == 6) {
        vec2 d = (vec2(cloth.x, cloth.z - mix(cut2.y, cut.w, 0.68))) / (0.09 * min(scale, 1.3));
        bool front = cloth.y < 0.0 || phase > 0.6;
        if (front && abs(d.x) < 1.0 && abs(d.y) < 0.75 && noise(vec3(d * 3.0, phase * 50.0)) > 0.42) return b;
        return a;
    }
    if (p == 7) return mix(a, b, clamp((cloth.z - cut2.y) / 0.5, 0.0, 1.0));
    if (p == 8) {
        float n = noise(cloth * 11.0 / scale + phase * 40.0);
        return n < 0.42 ? a : n < 0.62 ? b : c;
    }
    if (p == 9) return a * (0.8 + 0.5 * noise(cloth * 9.0 + phase * 20.0)) * (0.9 + 0.25 * step(0.06, abs(cloth.x)));
    return a;
}

vec3 face(vec3 skin) {
    vec3 d = (cloth - head.xyz) / head.w;
    if (d.y > -0.25) return skin;
    float brow = smoothstep(0.06, 0.0, abs(d.z - 0.20)) * smoothstep(0.12, 0.06, abs(abs(d.x) - 0.30));
    float eyes = smoothstep(0.07, 0.0, abs(d.z - 0.06)) * smoothstep(0.12, 0.06, abs(abs(d.x) - 0.28));
    float mouth = smoothstep(0.05, 0.0, abs(d.z + 0.50)) * smoothstep(0.22, 0.12, abs(d.x));
    skin *= 1.0 - 0.45 * brow - 0.55 * eyes;
    return mix(skin, skin * vec3(0.75, 0.45, 0.45), 0.6 * mouth);
}

void main() {
    vec3 base;
    int m = kind;
    float rough = pattern[m].w;
    vec3 d = (cloth - head.xyz) / head.w;
    if (m == 0) {
        base = face(colours[0].rgb);
    } else if (m == 1) {
        float line = style.x > 4.5 ? 0.25 : 0.42;
        bool forehead = d.y < -0.15 && d.z < line + 0.35 * max(0.0, -d.y - 0.6);
        float low = style.x < 1.5 ? -0.35 : style.x < 2.5 ? -0.85 : style.x > 3.5 ? -0.35 : -2.0;
        if (d.y < 0.42 && (forehead || d.z < low * (0.4 + 0.6 * smoothstep(-0.2, 0.4, d.y)))) discard;
        if (style.y > 0.5 && d.z > 0.45) discard;
        base = colours[3].rgb * (0.75 + 0.5 * noise(cloth * vec3(90.0, 90.0, 25.0)));
    } else if (m == 2 || m == 3) {
        if (along > (m == 3 ? min(cut.x, 0.3) : cut.x)) discard;
        float slack = 0.025 * step(0.01, cut.x);
        if (cloth.z > cut.w + slack - 0.30 * max(0.0, -cloth.y - 0.02)) discard;
        if (m == 2 && cut2.z > 0.0 && cloth.y < 0.0 && abs(cloth.x) < cut2.z * (1.0 + 0.6 * (cut.w - cloth.z)) && along < 0.02) discard;
        base = printed(m);
        if (m == 2 && along < 0.08 && strap.x > 0.5) {
            bool banded = strap.x < 1.5
                ? abs(abs(cloth.x) - 0.105) < 0.024 && cloth.y < 0.02 && cloth.z > mix(strap.w, strap.z, 0.5)
                : abs((cloth.x + strap.y * 0.10) - (strap.z - cloth.z) * strap.y * 0.30 / max(strap.z - strap.w, 0.1)) < 0.022
                  && cloth.z > strap.w;
            if (banded) base = colours[18].rgb;
        }
    } else if (m == 4) {
        if (cloth.z > cut.z || cloth.z < cut2.x) discard;
        base = printed(4);
    } else if (m == 5) {
        base = cloth.z < style.w ? colours[16].rgb : printed(5);
        rough = 0.1;
    } else if (m == 7) {
        if (style.y < 3.5) {
            if (d.z < (style.y < 1.5 ? 0.30 : style.y < 2.5 ? 0.12 : 0.28) - 0.25 * max(0.0, d.y) && d.y * d.y + d.x * d.x < 1.1) discard;
        } else if (d.y < -0.25 && d.z < 0.55 && abs(d.x) < 0.75) discard;
        base = printed(7);
    } else {
        base = printed(m);
    }
    vec3 n = normalize(facing);
    vec3 out_ = normalize(eye - at);
    if (dot(n, out_) < 0.0) n = -n;
    vec3 bump = vec3(noise(cloth * 21.0), noise(cloth * 21.0 + 7.0), noise(cloth * vec3(17.0, 17.0, 31.0) + 13.0)) - 0.5;
    n = normalize(n + rough * bump);
    float sky = 0.72 + 0.28 * n.z;
    float direct = max(dot(n, light), 0.0);
    float rim = 0.85 + 0.15 * max(dot(n, out_), 0.0);
    float shade = (ambient * sky + (1.0 - ambient) * 1.5 * direct) * rim;
    if (m == 0 || m == 5) shade += 0.05 * pow(max(dot(n, normalize(light + out_)), 0.0), 12.0);
    colour = vec4(pow(base * shade, vec3(1.0 / 2.2)), 1.0);
}
