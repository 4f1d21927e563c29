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
}
