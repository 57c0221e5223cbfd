//! What the system says about the machine. Everything but the processors is optional: other systems than Linux say
//! less.

use std::fs;
use std::path::Path;

use gristmill::runtime::Cores;

/// The machine.
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: Cores,
    /// Processors that are switched on, whether or not this process may use them.
    pub(super) online: Option<usize>,
    /// Those that the first processor sees, the smallest first.
    pub(super) caches: Vec<Cache>,
    /// Bytes, all and those that are free to use.
    pub(super) memory: Option<[u64; 2]>,
    /// When the kernel uses huge pages: `always`, `madvise` or `never`.
    pub(super) huge_pages: Option<String>,
    /// How many programs wanted to run at once in the last minute.
    pub(super) load: Option<f64>,
    /// The value of `GRISTMILL_SIMD`.
    pub(super) simd_wish: Option<String>,
}

/// Where Linux tells of the caches.
const CACHES: &str = "/sys/devices/system/cpu/cpu0/cache";

/// A cache of data.
pub(super) struct Cache {
    /// `L1d`, `L2`, …
    pub(super) name: String,
    pub(super) bytes: u64,
}

impl Machine {
    /// Looks.
    pub(super) fn look() -> Machine {
        Machine {
            cpu: cpu_model(),
            cores: Cores::detect(),
            online: read("/proc/cpuinfo").map(|text| entries(&text, "processor").count()),
            caches: caches(Path::new(CACHES)),
            memory: read("/proc/meminfo").and_then(|text| memory(&text)),
            huge_pages: read("/sys/kernel/mm/transparent_hugepage/enabled")
                .and_then(|text| chosen(&text)),
            load: read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
            simd_wish: std::env::var_os("GRISTMILL_SIMD")
                .map(|value| value.to_string_lossy().trim().to_string()),
        }
    }
}

/// The CPU's name for itself, or what kind it is.
pub(crate) fn cpu_model() -> String {
    let text = read("/proc/cpuinfo").unwrap_or_default();
    entries(&text, "model name").next().map_or_else(|| std::env::consts::ARCH.into(), Into::into)
}

/// Bytes that are read to measure the memory: more than the caches keep of it.
pub(crate) fn read_bytes() -> usize {
    beyond(&caches(Path::new(CACHES)))
}

/// Four times the largest cache, but no more than a gibibyte: virtual machines are told of caches of hundreds of
/// megabytes, which they may share with others.
fn beyond(caches: &[Cache]) -> usize {
    const LEAST: usize = 256 << 20;
    const MOST: usize = 1 << 30;
    let largest = caches.iter().map(|cache| cache.bytes as usize).max().unwrap_or(0);
    largest.saturating_mul(4).clamp(LEAST, MOST)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The values of a key in a file of lines `key : value`.
fn entries<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.filter(move |(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// The caches for data in a folder of sysfs.
fn caches(folder: &Path) -> Vec<Cache> {
    let mut list: Vec<Cache> = (0..8)
        .filter_map(|index| {
            let file = |name| fs::read_to_string(folder.join(format!("index{index}/{name}"))).ok();
            let kind = match file("type")?.trim() {
                "Data" => "d",
                "Unified" => "",
                _ => return None,
            };
            let bytes = file("size")?.trim().strip_suffix('K')?.parse::<u64>().ok()? << 10;
            Some(Cache { name: format!("L{}{kind}", file("level")?.trim()), bytes })
        })
        .collect();
    list.sort_by_key(|cache| cache.bytes);
    list
}

/// The memory, all and available, in bytes.
fn memory(meminfo: &str) -> Option<[u64; 2]> {
    let bytes = |key| {
        let value = entries(meminfo, key).next()?.strip_suffix(" kB")?;
        Some(value.parse::<u64>().ok()? << 10)
    };
    Some([bytes("MemTotal")?, bytes("MemAvailable")?])
}

/// The word in brackets.
fn chosen(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_linux_are_read() {
        let meminfo = "MemTotal:       2048 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(memory(meminfo), Some([2 << 20, 1 << 20]));
        assert_eq!(memory("MemTotal: 5 kB\n"), None);
        assert_eq!(chosen("always [madvise] never\n").as_deref(), Some("madvise"));
        let cpuinfo =
            "processor\t: 0\nmodel name\t: A CPU\n\nprocessor\t: 1\nmodel name\t: A CPU\n";
        assert_eq!(entries(cpuinfo, "processor").count(), 2);
        assert_eq!(entries(cpuinfo, "model name").next(), Some("A CPU"));
    }

    #[test]
    fn memory_is_measured_beyond_the_caches() {
        let of =
            |mebibytes: u64| beyond(&[Cache { name: "L3".into(), bytes: mebibytes << 20 }]) >> 20;
        assert_eq!([0, 32, 96, 480].map(of), [256, 256, 384, 1024]);
        assert_eq!(beyond(&[]) >> 20, 256);
    }

    #[test]
    fn caches_of_data_are_listed_by_size() {
        let folder = tempfile::tempdir().unwrap();
        let all = [("Unified", "2", "1024K"), ("Data", "1", "48K"), ("Instruction", "1", "32K")];
        for (index, (kind, level, size)) in all.iter().enumerate() {
            let at = folder.path().join(format!("index{index}"));
            fs::create_dir(&at).unwrap();
            for (name, text) in [("type", kind), ("level", level), ("size", size)] {
                fs::write(at.join(name), format!("{text}\n")).unwrap();
            }
        }
        let names: Vec<_> =
            caches(folder.path()).into_iter().map(|cache| (cache.name, cache.bytes)).collect();
        assert_eq!(names, [("L1d".into(), 48 << 10), ("L2".into(), 1 << 20)]);
    }
}
