//! Folders for Transformers, made of GGUF and legacy files: they hold the published weights, configuration and
//! tokenizer again. That Transformers itself agrees is checked by `testdata/clients/transformers_logits.py`.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use gristmill::arch::ARCHITECTURES;
use gristmill::convert::{ConvertOptions, OutType};
use gristmill::tensor::Checkpoint;
use gristmill::tokenizer::EncodeOptions;
use gristmill::{Error, Target};
use gristmill_testkit::{Options, tiny};

fn convert(
    source: &Path,
    target: Target,
    output: &Path,
    outtype: OutType,
) -> gristmill::Result<gristmill::convert::Report> {
    let options = ConvertOptions { outtype, ..ConvertOptions::default() };
    let opened = gristmill::open(source)?;
    opened.convert_to(target, output, &options, &mut |_| ControlFlow::Continue(()))
}

#[test]
fn a_published_model_comes_back_from_gguf_tensor_for_tensor() {
    for arch in ARCHITECTURES {
        let folder = tempfile::tempdir().unwrap();
        let published = folder.path().join("published");
        fs::create_dir(&published).unwrap();
        tiny(arch.name(), &Options::default()).save(&published).unwrap();
        let gguf = folder.path().join("model.gguf");
        convert(&published, Target::Gguf, &gguf, OutType::F32).unwrap();
        for target in [Target::Safetensors, Target::Pytorch] {
            let output = folder.path().join(target.name());
            let report = convert(&gguf, target, &output, OutType::F32).unwrap();
            assert_eq!((report.output, report.lossless), (output.clone(), report.tensors));
            let (old, new) =
                (gristmill::open(&published).unwrap(), gristmill::open(&output).unwrap());
            for info in old.raw().tensors() {
                let there = new.raw().tensor(&info.name).unwrap_or_else(|error| panic!("{error}"));
                let here = old.raw().tensor(&info.name).unwrap();
                assert_eq!(there.info, here.info, "{} {}", arch.name(), target.name());
                assert!(*there.bytes == *here.bytes, "{} {}", arch.name(), info.name);
            }
            let [old, new] = [&old, &new].map(|opened| opened.tokenizer().unwrap());
            for text in ["the rain in Spain", "<|endoftext|> é\n\n 日本"] {
                for parse_special in [false, true] {
                    let options = EncodeOptions { add_special: true, parse_special };
                    assert_eq!(
                        old.encode(text, options).unwrap(),
                        new.encode(text, options).unwrap()
                    );
                }
            }
        }
    }
}

#[test]
fn blocks_become_the_numbers_they_stand_for() {
    for arch in ARCHITECTURES {
        let folder = tempfile::tempdir().unwrap();
        let published = folder.path().join("published");
        fs::create_dir(&published).unwrap();
        tiny(arch.name(), &Options::default()).save(&published).unwrap();
        let gguf = folder.path().join("model.gguf");
        convert(&published, Target::Gguf, &gguf, OutType::Q5_1).unwrap();
        let output = folder.path().join("out");
        convert(&gguf, Target::Safetensors, &output, OutType::F32).unwrap();
        let (small, plain) = (gristmill::open(&gguf).unwrap(), gristmill::open(&output).unwrap());
        for info in small.checkpoint().tensors() {
            let values = |checkpoint: &dyn Checkpoint| {
                let tensor = checkpoint.tensor(&info.name).unwrap();
                let mut values = vec![0.0; tensor.info.shape.numel()];
                let codec = gristmill::quant::codec(tensor.info.dtype).unwrap();
                (codec.dequantize)(&tensor.bytes, &mut values);
                values
            };
            let (a, b) = (values(&**small.checkpoint()), values(&**plain.checkpoint()));
            assert!(a == b, "{} {}", arch.name(), info.name);
        }
    }
}

#[test]
fn a_folder_is_complete_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    tiny("gptj", &Options::default()).save(folder.path()).unwrap();
    let output = folder.path().join("out");
    let opened = gristmill::open(folder.path()).unwrap();
    let stopped =
        opened.convert_to(Target::Safetensors, &output, &ConvertOptions::default(), &mut |_| {
            ControlFlow::Break(())
        });
    assert!(stopped.unwrap_err().is_interrupted());
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["config.json", "model.safetensors", "tokenizer.json"]);

    // Inside a folder that holds something, a folder is made that is named by convention; a second one is refused.
    let made = convert(folder.path(), Target::Pytorch, folder.path(), OutType::F16).unwrap().output;
    assert_eq!(made.parent(), Some(folder.path()));
    assert!(made.join("pytorch_model.bin").exists() && made.join("config.json").exists());
    let again = convert(folder.path(), Target::Pytorch, folder.path(), OutType::F16);
    assert!(matches!(again, Err(Error::Convert(_) | Error::File(_))), "{again:?}");
}

#[test]
fn a_folder_holds_no_blocks() {
    let folder = tempfile::tempdir().unwrap();
    tiny("gptj", &Options::default()).save(folder.path()).unwrap();
    let error =
        convert(folder.path(), Target::Safetensors, &folder.path().join("out"), OutType::Q4_0);
    let message = error.unwrap_err().to_string();
    assert!(message.contains("plain numbers"), "{message}");
}
