//! What the figures were measured on.

use std::fs;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub host: String,
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let kib = field(&read("/proc/meminfo"), "MemTotal").and_then(leading_number);
        Self {
            host: read("/proc/sys/kernel/hostname"),
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores,
            memory_gib: kib.unwrap_or_default().div_ceil(1024 * 1024),
            kernel: read("/proc/sys/kernel/osrelease"),
        }
    }

    pub(crate) fn line(&self) -> String {
        let Self { cpu, cores, memory_gib, kernel, .. } = self;
        format!("{cores} cores ({cpu}), {memory_gib} GiB memory, Linux {kernel}")
    }
}

/// Jobs that wanted a core in the last minute, other than ours: 0 on a quiet machine.
pub(crate) fn load_average() -> String {
    read("/proc/loadavg").split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// Memory of a process in MiB: now resident, and the most it ever had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub resident_mib: u64,
    pub peak_mib: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Self::parse(&read(&format!("/proc/{pid}/status")))
    }

    fn parse(status: &str) -> Option<Self> {
        let mib = |name| field(status, name).and_then(leading_number).map(|kib| kib / 1024);
        Some(Self { resident_mib: mib("VmRSS")?, peak_mib: mib("VmHWM")? })
    }
}

/// Clock ticks a second in `/proc/<pid>/stat`, as Linux has it on every machine of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor seconds of a process and its direct children, those that have ended included: the
/// server, or Postgres with its backends. Only differences mean something.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let own = ticks(&read(&format!("/proc/{pid}/stat")))?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let numbers = processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    let stats = numbers.filter_map(|number| ticks(&read(&format!("/proc/{number}/stat"))));
    let children: u64 = stats.filter(|it| it.parent == pid).map(|it| it.own).sum();
    Some((own.own + own.ended + children) as f64 / TICKS_PER_SECOND)
}

/// Times of a process, in clock ticks.
#[derive(Debug, PartialEq, Eq)]
struct Ticks {
    parent: u32,
    own: u64,
    /// Of children that have ended.
    ended: u64,
}

/// The fields of `/proc/<pid>/stat` behind the name, which may hold anything but `)` at its end.
fn ticks(stat: &str) -> Option<Ticks> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let parent = u32::try_from(number(1)?).ok()?;
    Some(Ticks { parent, own: number(11)? + number(12)?, ended: number(13)? + number(14)? })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn field(text: &str, name: &str) -> Option<String> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned()).next()
}

fn leading_number(text: String) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Memory, Ticks, cpu_seconds, ticks};

    #[test]
    fn memory_is_read_from_the_status_of_a_process() {
        let status = "Name:\taccrue\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\n";
        let expected = Memory { resident_mib: 100, peak_mib: 200 };
        assert_eq!(Memory::parse(status), Some(expected));
        assert_eq!(Memory::parse("Name:\taccrue\n"), None);
        assert!(Memory::of(std::process::id()).is_some());
    }

    #[test]
    fn processor_time_is_that_of_a_process_and_its_ended_children() {
        let stat = "7 (a) b) S 5 7 7 0 -1 4194560 9 8 0 0 120 30 4 2 20 0 1 0 100 1 1";
        assert_eq!(ticks(stat), Some(Ticks { parent: 5, own: 150, ended: 6 }));
        assert_eq!(ticks("7 (a) S"), None);
        assert!(cpu_seconds(std::process::id()).is_some());
    }
}
