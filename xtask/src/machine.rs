//! The machine that a figure belongs to, in words.

use std::fs;
use std::thread;

/// One line: cores, processor, memory and kernel; `unknown` where the system does not say.
pub(crate) fn description() -> String {
    let cores = thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let read = |path| fs::read_to_string(path).unwrap_or_else(|_| String::new());
    let processor = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores, {processor}, {} of memory, Linux {}",
        gibibytes(&memory),
        known(kernel.trim()),
    )
}

/// The cores on which this process may run, by their numbers; none where the system does not say.
pub(crate) fn cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    numbers(&field(&status, "Cpus_allowed_list"))
}

/// The numbers of a list such as `0-3,8`; none where it is no such list.
fn numbers(list: &str) -> Vec<usize> {
    let spans = list.split(',').map(|span| {
        let (first, last) = span.split_once('-').unwrap_or((span, span));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    let spans: Option<Vec<_>> = spans.collect();
    spans.into_iter().flatten().flatten().collect()
}

fn field(text: &str, name: &str) -> String {
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    });
    known(value.unwrap_or("")).to_owned()
}

fn known(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

fn gibibytes(kibibytes: &str) -> String {
    kibibytes
        .strip_suffix(" kB")
        .and_then(|number| number.parse::<f64>().ok())
        .map_or_else(
            || kibibytes.to_owned(),
            |kib| format!("{:.0} GiB", kib / 1024.0 / 1024.0),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_or_unknown() {
        let text = "processor\t: 0\nmodel name\t: A processor\n";
        assert_eq!(field(text, "model name"), "A processor");
        assert_eq!(field(text, "bogomips"), "unknown");
        assert_eq!(gibibytes("25165824 kB"), "24 GiB");
    }

    #[test]
    fn cores_are_listed_one_by_one_and_in_spans() {
        assert_eq!(numbers("0-3,8,10-11"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(numbers("5"), [5]);
        assert!(numbers("unknown").is_empty());
    }
}
