//! Floating-point numbers as PostgreSQL 12 and later write them: the shortest digits that read back
//! as the same number.

use super::push;

/// From these decimal exponents on PostgreSQL writes an exponent: `src/common/d2s.c`, `f2s.c`.
const FIRST_EXPONENT_8: i32 = 15;
const FIRST_EXPONENT_4: i32 = 6;

/// Appends a `float8`.
pub(crate) fn render8(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        finite(&format!("{value:e}"), &format!("{value}"), FIRST_EXPONENT_8, out);
    } else {
        special(value, out);
    }
}

/// Appends a `float4`.
pub(crate) fn render4(value: f32, out: &mut Vec<u8>) {
    if value.is_finite() {
        finite(&format!("{value:e}"), &format!("{value}"), FIRST_EXPONENT_4, out);
    } else {
        special(f64::from(value), out);
    }
}

fn special(value: f64, out: &mut Vec<u8>) {
    push(
        out,
        if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        },
    );
}

fn finite(scientific: &str, fixed: &str, first_exponent: i32, out: &mut Vec<u8>) {
    let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..first_exponent).contains(&exponent) {
        push(out, fixed);
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        push(out, format_args!("{digits}e{sign}{:02}", exponent.abs()));
    }
}
