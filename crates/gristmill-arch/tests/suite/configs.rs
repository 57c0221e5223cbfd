//! The configurations of published models, abridged to the keys that matter, become the metadata that llama.cpp's
//! converter gives them.

use gristmill_arch::{Config, from_config};
use gristmill_tensor::Metadata;
use gristmill_testkit::golden::assert_golden;
use serde_json::Value;

#[test]
fn published_configurations_give_the_golden_metadata() {
    let published: Value = serde_json::from_str(include_str!("published.json")).unwrap();
    let mut text = String::new();
    for (model, config) in published.as_object().unwrap() {
        text += &format!("# {model}\n");
        let arch = from_config(config, "config.json").unwrap();
        let config = Config::new(config, "config.json");
        let mut metadata = Metadata::new("config.json");
        arch.configure(&config, &mut metadata).unwrap();
        for (key, value) in metadata.iter() {
            text += &format!("{key}: {} = {value}\n", value.type_name());
        }
        for (info, _) in arch.extra_tensors(&config).unwrap() {
            text += &format!("tensor {}: {} {}\n", info.name, info.dtype, info.shape);
        }
    }
    assert_golden("metadata-published.txt", &text);
}
