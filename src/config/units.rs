//! Sizes and durations as people write them: a number and a unit, `64KiB`, `250ms`.
//!
//! One number, one unit, no fractions: every value then has one reading. Sizes are powers of 1024 only; `KB`
//! means 1000 to some and 1024 to others, so it is refused with the answer.

use std::time::Duration;

const SIZES: &[(&str, u64)] =
    &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// In milliseconds.
const DURATIONS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Why a text is no size or duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// It does not begin with a digit, or has a fraction.
    #[error("does not begin with a whole number")]
    NoNumber,
    /// A duration without unit: seconds and milliseconds are too easily confused.
    #[error("has no unit")]
    NoUnit,
    /// What follows the number is not one of the known units.
    #[error("has an unknown unit")]
    UnknownUnit,
    /// More than 2^64 bytes or milliseconds.
    #[error("is too large")]
    Overflow,
}

/// Bytes: `64KiB`, `1GiB`, or a plain number.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text)?;
    match unit {
        "" => Ok(number),
        unit => scaled(number, unit, SIZES),
    }
}

/// A duration: `250ms`, `10s`, `2m`, `1h`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text)?;
    match unit {
        "" => Err(UnitError::NoUnit),
        unit => Ok(Duration::from_millis(scaled(number, unit, DURATIONS)?)),
    }
}

/// The shortest way to write a size.
pub fn show_size(bytes: u64) -> String {
    let (unit, scale) = largest_unit(bytes, SIZES, ("B", 1));
    format!("{}{unit}", bytes / scale)
}

/// The shortest way to write a duration; fractions of a millisecond are left out.
pub fn show_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, scale) = largest_unit(milliseconds, DURATIONS, ("ms", 1));
    format!("{}{unit}", milliseconds / scale)
}

type Unit = (&'static str, u64);

fn largest_unit(amount: u64, units: &[Unit], smallest: Unit) -> Unit {
    let fits = |(_, scale): &&Unit| amount != 0 && amount.is_multiple_of(*scale);
    units.iter().rev().find(fits).copied().unwrap_or(smallest)
}

fn split(text: &str) -> Result<(u64, &str), UnitError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    match digits {
        "" => Err(UnitError::NoNumber),
        _ if unit.starts_with('.') => Err(UnitError::NoNumber),
        digits => Ok((digits.parse().map_err(|_| UnitError::Overflow)?, unit.trim_start())),
    }
}

fn scaled(number: u64, unit: &str, units: &[Unit]) -> Result<u64, UnitError> {
    let (_, scale) = units.iter().find(|(name, _)| *name == unit).ok_or(UnitError::UnknownUnit)?;
    number.checked_mul(*scale).ok_or(UnitError::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        let sizes = [
            ("0", Ok(0)),
            ("512", Ok(512)),
            ("10B", Ok(10)),
            ("64KiB", Ok(65_536)),
            ("64 KiB", Ok(65_536)),
            ("1GiB", Ok(1_073_741_824)),
            ("16777215TiB", Ok(18_446_742_974_197_923_840)),
            ("16777216TiB", Err(UnitError::Overflow)),
            ("99999999999999999999", Err(UnitError::Overflow)),
            ("64KB", Err(UnitError::UnknownUnit)),
            ("64kib", Err(UnitError::UnknownUnit)),
            ("1.5GiB", Err(UnitError::NoNumber)),
            ("-1", Err(UnitError::NoNumber)),
            ("", Err(UnitError::NoNumber)),
        ];
        for (text, expected) in sizes {
            assert_eq!(expected, parse_size(text), "{text:?}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        let durations = [
            ("250ms", Ok(Duration::from_millis(250))),
            ("10s", Ok(Duration::from_secs(10))),
            ("2m", Ok(Duration::from_secs(120))),
            ("1h", Ok(Duration::from_secs(3600))),
            ("0s", Ok(Duration::ZERO)),
            ("10", Err(UnitError::NoUnit)),
            ("1.5s", Err(UnitError::NoNumber)),
            ("1m30s", Err(UnitError::UnknownUnit)),
            ("10 seconds", Err(UnitError::UnknownUnit)),
            ("18446744073709551615h", Err(UnitError::Overflow)),
        ];
        for (text, expected) in durations {
            assert_eq!(expected, parse_duration(text), "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in ["64KiB", "1GiB", "10B", "1025B", "0B"] {
            assert_eq!(text, show_size(parse_size(text).unwrap()));
        }
        for text in ["250ms", "10s", "90s", "2m", "1h", "0ms"] {
            assert_eq!(text, show_duration(parse_duration(text).unwrap()));
        }
    }
}
