use gristmill_tensor::Checkpoint;
use gristmill_tokenizer::*;
use std::io::Read;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let t0 = std::time::Instant::now();
    let f = gristmill_gguf::Reader::open(std::path::Path::new(&a[1])).unwrap();
    let t1 = std::time::Instant::now();
    let t = Tokenizer::from_metadata(f.metadata()).unwrap();
    eprintln!("open {:?} tokenizer {:?} {:?}", t1 - t0, t1.elapsed(), t.notes());
    let mut all = Vec::new();
    std::io::stdin().read_to_end(&mut all).unwrap();
    let all = String::from_utf8(all).unwrap();
    let t2 = std::time::Instant::now();
    for text in all.split('\0') {
        let o = EncodeOptions { add_special: a[2] == "1", parse_special: a[3] == "1" };
        let ids = t.encode(text, o).unwrap();
        println!("{}", ids.iter().map(|i| i.to_string()).collect::<Vec<_>>().join(" "));
    }
    eprintln!("encode {} bytes {:?}", all.len(), t2.elapsed());
    if a.len() > 4 {
        for i in 0..t.n_vocab() as u32 {
            if t.is_eog(i) {
                println!("eog {i}");
            }
        }
        println!(
            "bos {} eos {} addbos {} addeos {}",
            t.bos().map_or(-1, |b| b as i64),
            t.eos().map_or(-1, |b| b as i64),
            t.adds_bos() as u8,
            t.adds_eos() as u8
        );
    }
}
