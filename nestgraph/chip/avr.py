"""What avr-libc lacks of `math.h`, by what it has: exact to about 1e-7 of 1, or of the number where that is larger."""

import re
from collections.abc import Mapping

FUNCTIONS: Mapping[str, str] = {
    "exp2f": "return expf(v * 0.693147181f);",
    "expm1f": "return fabsf(v) < 1e-2f ? v * (1.0f + v * (0.5f + v * 0.166666667f)) : expf(v) - 1.0f;",
    "log1pf": "return fabsf(v) < 1e-2f ? v * (1.0f - v * (0.5f - v * 0.333333333f)) : logf(1.0f + v);",
    "log2f": "return logf(v) * 1.44269504f;",
    "rintf": """float low = floorf(v), rest = v - low;
    if (rest > 0.5f || (rest >= 0.5f && fmodf(low, 2.0f) != 0.0f)) { low += 1.0f; }
    return low;""",
    "asinhf": "return v < 0.0f ? -logf(sqrtf(v * v + 1.0f) - v) : logf(sqrtf(v * v + 1.0f) + v);",
    "acoshf": "return logf(v + sqrtf(v * v - 1.0f));",
    "atanhf": "return 0.5f * logf((1.0f + v) / (1.0f - v));",
    # Abramowitz, Stegun, Handbook of Mathematical Functions, 7.1.26
    "erff": """const float t = 1.0f / (1.0f + 0.3275911f * fabsf(v));
    const float p = t * (0.254829592f + t * (-0.284496736f + t * (1.42141374f + t * (-1.45315203f + t * 1.06140543f))));
    const float r = 1.0f - p * expf(-v * v);
    return v < 0.0f ? -r : r;""",
    "erfcf": """const float t = 1.0f / (1.0f + 0.3275911f * fabsf(v));
    const float p = t * (0.254829592f + t * (-0.284496736f + t * (1.42141374f + t * (-1.45315203f + t * 1.06140543f))));
    const float r = p * expf(-v * v);
    return v < 0.0f ? 2.0f - r : r;""",
}
"""By name, what it does with a float `v`."""


def replacements(body: str) -> str:
    """Definitions of those functions that a text calls and avr-libc lacks."""
    used = [name for name in FUNCTIONS if re.search(rf"\b{name}\(", body)]
    return "".join(
        f"static float @avr_{name}(float v) {{\n    {FUNCTIONS[name]}\n}}\n#define {name} @avr_{name}\n"
        for name in used
    )
