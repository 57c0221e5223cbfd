//! The binary as its users meet it: the main job on the demo model, and one clear line for everything that is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn demo_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tale-gptj-4m")
}

fn gristmill(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gristmill")).args(words).output().expect("the binary runs")
}

/// Runs a command that must succeed; gives its standard output.
fn succeed(words: &[&str]) -> String {
    let output = gristmill(words);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}");
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

/// Runs a command that must fail with exit code 1 and one line; gives the line.
fn fail(words: &[&str]) -> String {
    let output = gristmill(words);
    let errors = String::from_utf8(output.stderr).expect("errors are UTF-8");
    assert_eq!(output.status.code(), Some(1), "{words:?}: {errors}");
    assert_eq!(errors.trim_end().lines().count(), 1, "{words:?}: one line, but: {errors}");
    assert!(errors.starts_with("error: "), "{errors}");
    errors
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text.lines().last().unwrap_or_default()).expect("the last line is JSON")
}

/// The demo model's recorded results.
fn oracle() -> Value {
    let text =
        fs::read_to_string(demo_model().join("oracle.json")).expect("the recording is there");
    serde_json::from_str(&text).expect("the recording is JSON")
}

/// Names of the files in a folder, hidden ones too.
fn listing(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder is there").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A copy of the demo model's folder that a test may damage.
fn copy_of_demo(folder: &Path) -> PathBuf {
    let copy = folder.join("copy");
    fs::create_dir(&copy).expect("the folder is new");
    for name in ["config.json", "pytorch_model.bin", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(demo_model().join(name), copy.join(name)).expect("the file can be copied");
    }
    copy
}

#[test]
fn converts_to_a_folder_under_the_conventional_name_and_runs_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let model = demo_model();
    let out = folder.path();
    succeed(&["convert", text(&model), "-o", text(out), "--outtype", "q8_0"]);
    let names = listing(out);
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].ends_with("-Q8_0.gguf"), "{names:?}");
    let file = out.join(&names[0]);
    let words = ["run", text(&file), "-p", "Once upon a time", "-n", "8", "--ignore-eos", "--json"];
    let result = json(&succeed(&words));
    assert_eq!(result["tokens"].as_array().map(Vec::len), Some(8));
    assert_eq!(result["finish_reason"], "length");
    assert!(result["timings"]["predicted_per_second"].as_f64().is_some_and(|rate| rate > 0.0));
}

#[test]
fn greedy_text_is_what_transformers_wrote_from_the_folder_and_from_gguf() {
    let folder = tempfile::tempdir().unwrap();
    let gguf = folder.path().join("f32.gguf");
    let model = demo_model();
    succeed(&["convert", text(&model), "-o", text(&gguf), "--outtype", "f32", "--quiet"]);
    for prompt in oracle()["prompts"].as_array().expect("prompts were recorded") {
        let (prompt_text, greedy) = (prompt["text"].as_str().unwrap(), &prompt["greedy_ids"]);
        for source in [&model, &gguf] {
            let words = [
                "run",
                text(source),
                "-p",
                prompt_text,
                "-n",
                "48",
                "--temp",
                "0",
                "--ignore-eos",
                "--json",
            ];
            let result = json(&succeed(&words));
            assert_eq!(&result["prompt_tokens"], &prompt["input_ids"], "{prompt_text}");
            assert_eq!(&result["tokens"], greedy, "{prompt_text}");
        }
    }
}

#[test]
fn perplexity_with_a_stride_is_hugging_faces() {
    let model = demo_model();
    let heldout = model.join("heldout.txt");
    let words = [
        "perplexity",
        text(&model),
        "-f",
        text(&heldout),
        "--ctx",
        "512",
        "--stride",
        "256",
        "--json",
    ];
    let result = json(&succeed(&words));
    let perplexity = result["perplexity"].as_f64().unwrap();
    assert!((perplexity / 38.354 - 1.0).abs() < 1e-3, "{perplexity}");
    assert_eq!(result["tokens_scored"], 8894);
}

#[test]
fn inspect_and_tokenize_speak_json() {
    let model = demo_model();
    let result = json(&succeed(&["inspect", text(&model), "--json"]));
    assert_eq!(result["architecture"], "gptj");
    assert_eq!(result["parameters"], 4_204_032);
    let result = json(&succeed(&["tokenize", text(&model), "-p", "Once upon", "--json"]));
    assert!(!result["tokens"].as_array().unwrap().is_empty());
}

#[test]
fn logits_are_one_row_per_token() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("logits.safetensors");
    let model = demo_model();
    succeed(&["logits", text(&model), "--tokens", "1,2,3", "-o", text(&out)]);
    let result = json(&succeed(&["inspect", text(&out), "--json"]));
    assert_eq!(result["tensors"][0]["name"], "logits");
    assert_eq!(result["tensors"][0]["shape"], serde_json::json!([3, 2048]));
}

#[test]
fn quantizing_twice_needs_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let (q8, q4) = (folder.path().join("q8.gguf"), folder.path().join("q4.gguf"));
    let model = demo_model();
    succeed(&["convert", text(&model), "-o", text(&q8), "--outtype", "q8_0", "--quiet"]);
    let line = fail(&["quantize", text(&q8), text(&q4), "q4_0"]);
    assert!(line.contains("--allow-requantize"), "{line}");
    assert!(!q4.exists());
    succeed(&["quantize", text(&q8), text(&q4), "q4_0", "--allow-requantize", "--quiet"]);
}

#[test]
fn an_existing_output_is_kept_without_force() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    fs::write(&out, "precious").unwrap();
    let model = demo_model();
    let line = fail(&["convert", text(&model), "-o", text(&out)]);
    assert!(line.contains("out.gguf") && line.contains("--force"), "{line}");
    assert_eq!(fs::read(&out).unwrap(), b"precious");
    succeed(&["convert", text(&model), "-o", text(&out), "--force", "--quiet"]);
    assert_eq!(listing(folder.path()), ["out.gguf"]);
}

#[test]
fn a_missing_input_is_named() {
    let line = fail(&["inspect", "there-is-no-such-file.gguf"]);
    assert!(line.contains("there-is-no-such-file.gguf"), "{line}");
}

#[test]
fn a_file_of_no_known_kind_is_told_by_its_first_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    for (content, word) in [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "LFS"),
        ("<!DOCTYPE html><html></html>", "web page"),
        ("tjgg\u{1}\0\0\0 old", "model.gguf"),
    ] {
        fs::write(&file, content).unwrap();
        let line = fail(&["run", text(&file), "-p", "x"]);
        assert!(line.contains(word), "{line}");
    }
}

#[test]
fn identify_says_what_any_file_is_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("download.bin");
    for (content, what, next) in [
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "LFS",
            "git lfs pull",
        ),
        ("<!DOCTYPE html><html></html>", "web page", "download the file itself"),
        ("Rar!", "rar archive", "unpack"),
    ] {
        fs::write(&file, content).unwrap();
        let said = succeed(&["identify", text(&file)]);
        assert!(said.contains(what) && said.contains(next), "{said}");
        let identity = &json(&succeed(&["inspect", text(&file), "--json"]))["identity"];
        assert!(identity["what"].as_str().unwrap().contains(what), "{identity}");
    }
    // A file that is a model's, but damaged, is an error all the same.
    fs::write(&file, "tjgg\u{1}\0\0\0 old").unwrap();
    assert!(fail(&["identify", text(&file)]).contains("download.bin"));
}

#[test]
fn a_model_goes_to_a_file_of_2023_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old.bin", "new.gguf"].map(|name| folder.path().join(name));
    let model = copy_of_demo(folder.path());
    let args = ["convert", text(&model), "--to", "ggml", "--outtype", "q5_1"];
    succeed(&[&args[..], &["--quant-version", "0", "-o", text(&old)]].concat());
    let said = succeed(&["inspect", text(&old)]);
    assert!(said.contains("GGML") && said.contains("Q5_1_V0"), "{said}");

    // Without a type, codes are kept as they are.
    let said = succeed(&["convert", text(&old), "-o", text(&new)]);
    let lossless = said.lines().find_map(|line| line.trim().strip_prefix("lossless: ")).unwrap();
    let (kept, all) = lossless.strip_suffix(" tensors").unwrap().split_once('/').unwrap();
    assert_eq!(kept, all, "{said}");
    let run = |file: &Path| {
        let args = ["run", text(file), "--tokens", "5,6,7", "-n", "8", "--temp", "0", "--json"];
        json(&succeed(&args))["tokens"].clone()
    };
    assert_eq!(run(&old).as_array().unwrap().len(), 8);
    assert_eq!(run(&old)[0], run(&new)[0]);

    let line = fail(&["convert", text(&model), "--quant-version", "0", "-o", text(&new)]);
    assert!(line.contains("--to ggml"), "{line}");
}

#[test]
fn a_missing_tokenizer_says_which_files_would_do() {
    let folder = tempfile::tempdir().unwrap();
    let copy = copy_of_demo(folder.path());
    fs::remove_file(copy.join("tokenizer.json")).unwrap();
    let out = folder.path().join("out.gguf");
    let line = fail(&["convert", text(&copy), "-o", text(&out)]);
    assert!(line.contains("tokenizer.json") && line.contains("tokenizer.model"), "{line}");
    assert!(!out.exists());
}

#[test]
fn an_unknown_architecture_says_what_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let copy = copy_of_demo(folder.path());
    let config = fs::read_to_string(copy.join("config.json")).unwrap();
    let config = config.replace("GPTJForCausalLM", "OddForCausalLM").replace("gptj", "odd");
    fs::write(copy.join("config.json"), config).unwrap();
    let line = fail(&["run", text(&copy), "-p", "x"]);
    assert!(line.contains("odd") && line.contains("llama") && line.contains("mpt"), "{line}");
}

#[test]
fn missing_shards_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let copy = copy_of_demo(folder.path());
    fs::remove_file(copy.join("pytorch_model.bin")).unwrap();
    let index = r#"{"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}}"#;
    fs::write(copy.join("pytorch_model.bin.index.json"), index).unwrap();
    let line = fail(&["inspect", text(&copy)]);
    assert!(line.contains("00001-of-00002") && line.contains("00002-of-00002"), "{line}");
}

#[test]
fn a_file_cut_short_anywhere_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let gguf = folder.path().join("whole.gguf");
    let model = demo_model();
    succeed(&["convert", text(&model), "-o", text(&gguf), "--outtype", "q4_0", "--quiet"]);
    let whole = fs::read(&gguf).unwrap();
    let cut = folder.path().join("cut.gguf");
    for eighth in 0..8 {
        fs::write(&cut, &whole[..whole.len() * eighth / 8]).unwrap();
        let line = fail(&["run", text(&cut), "-p", "x"]);
        assert!(line.contains("cut.gguf"), "{line}");
    }
}

#[test]
fn a_weight_that_is_no_number_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("checkpoint");
    fs::create_dir(&checkpoint).unwrap();
    gristmill_testkit::tiny("llama", &gristmill_testkit::Options::default())
        .save(&checkpoint)
        .unwrap();
    let file = checkpoint.join("model.safetensors");
    let name = "model.layers.0.mlp.up_proj.weight";
    let range = gristmill::safetensors::Reader::open(&file).unwrap().byte_range(name).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[range.start as usize..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&file, bytes).unwrap();

    let out = folder.path().join("out.gguf");
    let line = fail(&["convert", text(&checkpoint), "-o", text(&out), "--outtype", "q4_0"]);
    assert!(line.contains("blk.0.ffn_up.weight") && line.contains("NaN"), "{line}");
    assert_eq!(listing(folder.path()), ["checkpoint"]);
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", text(&disk)];
    if !Command::new("mount").args(mount).output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: a small disk cannot be mounted here; run as root on Linux");
        return;
    }
    let out = disk.join("out.gguf");
    let model = demo_model();
    let output = gristmill(&["convert", text(&model), "-o", text(&out)]);
    let left = listing(&disk);
    assert!(Command::new("umount").arg(&disk).output().is_ok_and(|output| output.status.success()));
    let line = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.contains("out.gguf") && line.contains("space"), "{line}");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
#[cfg(unix)]
fn a_reader_that_goes_away_is_no_error() {
    let model = demo_model();
    let script =
        format!("{} inspect {} | head -n 1", env!("CARGO_BIN_EXE_gristmill"), text(&model));
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    assert_eq!(gristmill(&["convert"]).status.code(), Some(2));
    assert_eq!(gristmill(&["convert", "x", "--outtype", "q9_9"]).status.code(), Some(2));
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(succeed(&["completions", shell]).contains("gristmill"), "{shell}");
    }
}

#[test]
fn bench_measures_what_is_asked_in_every_format() {
    let model = demo_model();
    let common =
        ["bench", text(&model), "-p", "8,4", "-n", "2", "-pg", "4,2", "-t", "1,2", "-r", "2"];
    let bench =
        |format: &str, more: &[&str]| succeed(&[&common[..], &["-o", format], more].concat());

    let table = bench("md", &["-d", "3"]);
    let lines: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(lines.len(), 2 + 2 * 4);
    let columns = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect()
    };
    let names = ["model", "size", "params", "backend", "threads", "test", "t/s"];
    assert_eq!(columns(lines[0]), names);
    assert!(lines.iter().all(|line| columns(line).len() == names.len()));
    assert_eq!(columns(lines[2])[5], "pp8 @ d3");
    assert_eq!(columns(lines[5])[5], "pp4+tg2 @ d3");

    let all: Value = serde_json::from_str(&bench("json", &["-v"])).expect("one JSON array");
    let rows = all.as_array().expect("an array");
    assert_eq!(rows.len(), 8);
    for row in rows {
        assert!(row["avg_ts"].as_f64().expect("a rate") > 0.0);
        assert_eq!(row["samples_ns"].as_array().expect("samples").len(), 2);
        let both = row["n_prompt"].as_u64() > Some(0) && row["n_gen"].as_u64() > Some(0);
        let share = row["share"].as_f64();
        assert!(if both { share.is_none() } else { share > Some(0.0) }, "{row}");
    }
    assert_eq!(rows[2]["limit"], "read");

    let csv = bench("csv", &[]);
    let fields = |line: &str| line.matches(',').count();
    assert_eq!(csv.lines().count(), 9);
    assert!(csv.lines().next().expect("names").contains("n_threads,type_k"));
    assert!(csv.lines().all(|line| fields(line) == fields(csv.lines().next().expect("names"))));
    assert_eq!(bench("jsonl", &[]).lines().filter(|line| line.starts_with('{')).count(), 8);

    let words = ["bench", text(&model), "-p", "0", "-n", "2", "--batch", "1,3", "-o", "jsonl"];
    let together = json(&succeed(&words));
    assert_eq!(together["n_parallel"], 3);

    assert!(fail(&["bench", text(&model), "-p", "0", "-n", "0"]).contains("nothing to measure"));
    assert!(fail(&["bench"]).contains("give a model"));
}

#[test]
fn doctor_says_what_the_machine_can_do() {
    let words = succeed(&["doctor"]);
    for label in ["cpu", "simd", "cores", "reads", "computes", "threads", "in int8"] {
        assert!(words.lines().any(|line| line.starts_with(label)), "{label}: {words}");
    }

    let lowered = Command::new(env!("CARGO_BIN_EXE_gristmill"))
        .args(["doctor", "--json", "-t", "1"])
        .env("GRISTMILL_SIMD", "portable")
        .output()
        .expect("the binary runs");
    let report = json(&String::from_utf8_lossy(&lowered.stdout));
    assert_eq!(report["threads"], 1);
    assert!(report["read_bytes_per_second"]["one_thread"].as_f64() > Some(1e7), "{report}");
    let int8 = report["types"]["int8"].as_array().expect("types");
    assert!(int8.contains(&"Q4_0".into()), "{report}");
    assert_eq!(report["simd"], "portable");
    let told = report["advice"].to_string().contains("GRISTMILL_SIMD=portable");
    let can_do_more = report["simd_available"].as_array().is_some_and(|levels| levels.len() > 1);
    assert_eq!(told, can_do_more, "{report}");
}

#[test]
fn a_verbose_run_ends_with_its_share_of_the_limits() {
    let model = demo_model();
    let words = ["run", text(&model), "-p", "Once upon a time", "-n", "4", "--ignore-eos", "-v"];
    let output = gristmill(&words);
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().last().unwrap_or_default();
    assert!(last.contains("of the limits = prompt") && last.contains("GB/s read"), "{errors}");
}
