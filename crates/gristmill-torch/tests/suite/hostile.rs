//! Damaged and malicious files: always an error or the right data, never a panic, never much memory.

use crate::common::*;
use proptest::prelude::*;

/// A checkpoint with a bit of everything, in both containers.
fn samples() -> [Vec<u8>; 2] {
    let data = f32s(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let body = |key: &str| {
        let storage = || storage("FloatStorage", key, 6);
        let parameter = [tensor(storage(), 3, &[3], &[1]), b"\x88".to_vec(), ordered_dict()];
        state_dict(&[
            ("w", tensor(storage(), 0, &[2, 3], &[3, 1])),
            ("t", tensor(storage(), 0, &[3, 2], &[1, 3])),
            ("e", tensor(storage(), 5, &[4, 2], &[0, 0])),
            ("p", call("torch._utils", "_rebuild_parameter", &parameter)),
        ])
    };
    [zip(&body("0"), &[&data]), legacy(&body("77"), &[("77", 6, &data)])]
}

/// The most memory this process ever had, in MiB, where the system tells.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

fn assert_little_memory() {
    if let Some(peak) = peak_mib() {
        assert!(peak < 512, "{peak} MiB");
    }
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    for sample in samples() {
        assert!(read_all(sample.clone()).is_ok());
        for len in 0..sample.len() {
            assert!(read_all(sample[..len].to_vec()).is_err(), "{len} of {}", sample.len());
        }
    }
    assert_little_memory();
}

#[test]
fn any_single_byte_may_change_without_a_panic() {
    for sample in samples() {
        for at in 0..sample.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, sample[at] ^ 1, sample[at].wrapping_add(1)] {
                let mut file = sample.clone();
                file[at] = value;
                let _ = read_all(file);
            }
        }
    }
    assert_little_memory();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn random_changes_never_panic(
        which in 0usize..2,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        cut_it in any::<bool>(),
    ) {
        let mut file = samples()[which].clone();
        for (at, value) in flips {
            let at = at.index(file.len());
            file[at] = value;
        }
        if cut_it {
            file.truncate(cut.index(file.len()));
        }
        let _ = read_all(file.clone());
        let _ = gristmill_torch::audit(std::sync::Arc::new(gristmill_tensor::MemorySource::new("test", file)));
        assert_little_memory();
    }

    #[test]
    fn random_opcodes_never_panic(body in prop::collection::vec(
        prop::sample::select(b"()]}tuseabhqQRNKX.\x85\x86\x87\x81\x88\x89\x94\x93\x8c\x00\x01\x02".to_vec()), 0..200)
    ) {
        let _ = read_all(zip(&body, &[&[0; 24]]));
        assert_little_memory();
    }
}

#[test]
fn one_element_cannot_claim_to_be_petabytes() {
    let claim = |size: &[i64], stride: &[i64]| {
        let body = dict(&[("w", tensor(storage("FloatStorage", "0", 1), 0, size, stride))]);
        refusal(zip(&body, &[&[0; 4]]))
    };
    assert!(claim(&[1 << 30, 1 << 10], &[0, 0]).contains("limit"));
    assert!(claim(&[1 << 40, 1 << 40], &[0, 0]).contains("larger than any memory"));
    assert!(claim(&[1 << 40, 1 << 40, 0], &[0, 0, 0]).contains("larger than any memory"));
    assert!(claim(&[1 << 62], &[0]).contains("larger than any memory"));
    // Many small claims are no better than a large one.
    let expanded = || tensor(storage("FloatStorage", "0", 1), 0, &[200_000], &[0]);
    let names: Vec<String> = (0..10).map(|i| format!("w{i}")).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), expanded())).collect();
    assert!(open(zip(&dict(&entries[..1]), &[&[0; 4]])).is_ok());
    assert!(refusal(zip(&dict(&entries), &[&[0; 4]])).contains("limit"));
}

#[test]
fn a_storage_that_claims_more_than_the_file_holds_is_refused() {
    for numel in [7, 1 << 20, 1 << 50, i64::MAX, -1] {
        let body = dict(&[("w", tensor(storage("FloatStorage", "0", numel), 0, &[1], &[1]))]);
        assert!(read_all(zip(&body, &[&[0; 24]])).is_err(), "{numel}");
        assert!(read_all(legacy(&body, &[("0", numel as u64, &[0; 24])])).is_err(), "{numel}");
    }
}

#[test]
fn keys_that_are_paths_find_nothing() {
    for key in ["../data.pkl", "../../x", "/etc/passwd", "", "0/../0", "99999"] {
        let body = dict(&[("w", tensor(storage("ByteStorage", key, 1), 0, &[1], &[1]))]);
        assert!(read_all(zip(&body, &[&[0; 1]])).is_err(), "{key}");
    }
}

#[test]
fn the_claims_of_a_zip64_record_do_not_reach_the_allocator() {
    let [good, _] = samples();
    let end64 = good.windows(4).rposition(|bytes| bytes == b"PK\x06\x06").unwrap();
    let end = good.len() - 22;
    // Make the plain end record defer to the zip64 one, which alone is harmless.
    let mut deferring = good.clone();
    deferring[end + 8..end + 20].fill(0xff);
    assert!(read_all(deferring.clone()).is_ok());
    let with = |at: usize, value: u64| {
        let mut file = deferring.clone();
        file[end64 + at..end64 + at + 8].copy_from_slice(&value.to_le_bytes());
        read_all(file)
    };
    let of_count = |count| {
        let mut file = deferring.clone();
        for at in [24, 32] {
            file[end64 + at..end64 + at + 8].copy_from_slice(&u64::to_le_bytes(count));
        }
        read_all(file)
    };
    for value in [1 << 20, 1 << 33, 1 << 60, u64::MAX] {
        assert!(with(4, value).is_err(), "record length {value}");
        assert!(of_count(value).is_err(), "members {value}");
        assert!(with(48, value).is_err(), "directory start {value}");
        // The length of the directory is not needed.
        assert!(with(40, value).is_ok(), "directory length {value}");
    }
    assert_little_memory();
}

#[test]
fn a_deflated_bomb_is_not_inflated_beyond_its_claim() {
    use std::io::Write;
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated);
    let packed = |pickle: &[u8], data: &[u8]| {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, data) in [("m/data.pkl", pickle), ("m/data/0", data)] {
            writer.start_file(name, options).unwrap();
            writer.write_all(data).unwrap();
        }
        writer.finish().unwrap().into_inner()
    };
    let body = pickle(&dict(&[("w", vector("ByteStorage", 64 << 20))]));
    let mut file = packed(&body, &vec![0; 64 << 20]);
    assert!(file.len() < 1 << 20);
    assert!(open(file.clone()).is_ok());
    // The directory claims a little less, then far more, than the data unpacks to.
    let directory = file.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
    for claim in [(64u32 << 20) - 1, u32::MAX - 1] {
        file[directory + 24..directory + 28].copy_from_slice(&claim.to_le_bytes());
        assert!(read_all(file.clone()).is_err(), "{claim}");
    }
}
