//! Sizes in bytes, as people write them.

/// Units by their power of two; a bare number is bytes.
const UNITS: [(&str, u32); 8] = [
    ("KiB", 10),
    ("MiB", 20),
    ("GiB", 30),
    ("TiB", 40),
    ("K", 10),
    ("M", 20),
    ("G", 30),
    ("T", 40),
];

/// The bytes in a text such as `512MiB`, `2G` or `1048576`.
///
/// # Errors
/// It is no whole number with one of the units, is zero, or is more than the machine can count.
pub(crate) fn parse(text: &str) -> Result<usize, &'static str> {
    let (number, power) = UNITS
        .iter()
        .find_map(|(unit, power)| Some((text.strip_suffix(unit)?, *power)))
        .unwrap_or((text, 0));
    let number: usize = number
        .trim_end()
        .parse()
        .map_err(|_| "it is no size such as 512MiB or 2GiB")?;
    if number == 0 {
        return Err("it is no memory at all");
    }
    number
        .checked_mul(1usize.checked_shl(power).unwrap_or(0))
        .filter(|bytes| *bytes > 0)
        .ok_or("it is more than this machine can count")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_unit() {
        for (text, bytes) in [
            ("1048576", 1 << 20),
            ("512MiB", 512 << 20),
            ("512 MiB", 512 << 20),
            ("2G", 2 << 30),
            ("3KiB", 3 << 10),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "GiB",
            "1.5GiB",
            "-1",
            "1PB",
            "0",
            "0MiB",
            "99999999999TiB",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
