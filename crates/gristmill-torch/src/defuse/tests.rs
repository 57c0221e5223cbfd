#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use gristmill_tensor::MemorySource;

use super::*;
use crate::plain::Plain;

/// The pickle that the opcodes `body` become, without `PROTO` and `STOP`.
fn defused(body: &[u8]) -> Result<Vec<u8>> {
    let source = MemorySource::new("test", [b"\x80\x02", body, b"."].concat());
    let mut cursor = Cursor::new(&source, FORMAT);
    let pickle = defuse(&mut cursor, "test", &Limits::default())?;
    assert_eq!(cursor.remaining(), 0);
    Ok(pickle[2..pickle.len() - 1].to_vec())
}

fn read(body: &[u8]) -> Result<Plain> {
    let source = MemorySource::new("test", [b"\x80\x02", body, b"."].concat());
    plain::read(&mut Cursor::new(&source, FORMAT), "test", &Limits::default())
}

fn refusal(body: &[u8]) -> String {
    match read(body) {
        Ok(value) => panic!("{body:?} gave {value:?}"),
        Err(error) => error.to_string(),
    }
}

fn text(text: &str) -> Plain {
    Plain::Text(text.into())
}

const ORDERED_DICT: &[u8] = b"ccollections\nOrderedDict\n";

#[test]
fn each_opcode_is_rewritten_as_the_table_says() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"N", b"N"),
        (b"\x88", b"\x88"),
        (b"\x89", b"\x89"),
        (b"K\x05", b"J\x05\0\0\0"),
        (b"M\x05\x01", b"J\x05\x01\0\0"),
        (b"J\xff\xff\xff\xff", b"J\xff\xff\xff\xff"),
        (b"\x8a\0", b"J\0\0\0\0"),
        (b"\x8a\x01\xff", b"J\xff\xff\xff\xff"),
        (b"\x8a\x05\0\0\0\0\x01", b"\x8a\x08\0\0\0\0\x01\0\0\0"),
        (b"\x8b\x01\0\0\0\x07", b"J\x07\0\0\0"),
        (b"\x8a\x09\0\0\0\0\0\0\0\x80\0", b"B\x09\0\0\0\0\0\0\0\0\0\0\x80\0"),
        (b"G?\xf0\0\0\0\0\0\0", b"G?\xf0\0\0\0\0\0\0"),
        (b"X\x01\0\0\0a", b"X\x01\0\0\0a"),
        (b"U\x01a", b"X\x01\0\0\0a"),
        (b"\x8c\x01a", b"X\x01\0\0\0a"),
        (b"U\x01\xff", b"B\x01\0\0\0\xff"),
        (b"C\x01a", b"B\x01\0\0\0a"),
        (b"X\x01\0\0\0\0", b"X\x02\0\0\0\0\0"),
        (b")", b")"),
        (b"N\x85", b"N\x85"),
        (b"NN\x86", b"NN\x86"),
        (b"NNN\x87", b"NNN\x87"),
        (b"(t", b")"),
        (b"(NNt", b"NN\x86"),
        (b"(NNNNt", b"]NaNaNaNa"),
        (b"](NNe", b"]NaNa"),
        (b"]Na", b"]Na"),
        (b"\x8f(NN\x90", b"]NaNa"),
        (b"}(NNNNu", b"}NNsNNs"),
        (b"}NNs", b"}NNs"),
        (b"}q\x00(NNu}b", b"}NNs"),
    ];
    for (body, expected) in cases {
        assert_eq!(defused(body).unwrap(), *expected, "{body:?}");
    }
}

#[test]
fn names_calls_and_storages_become_data_about_themselves() {
    let global = Plain::Global("torch.FloatStorage".into());
    assert_eq!(read(b"ctorch\nFloatStorage\n").unwrap(), global);
    assert_eq!(read(b"\x8c\x05torch\x8c\x0cFloatStorage\x93").unwrap(), global);
    assert_eq!(read(b"(K\x01tQ").unwrap(), Plain::Storage(vec![Plain::Int(1)]));
    assert_eq!(
        read(b"ctorch\nSize\n(K\x01K\x02tR").unwrap(),
        Plain::Call(
            Box::new(Plain::Global("torch.Size".into())),
            vec![Plain::Int(1), Plain::Int(2)]
        )
    );
    assert_eq!(read(b"cargparse\nNamespace\n)\x81}b").unwrap(), Plain::Other);
}

#[test]
fn no_text_of_the_file_can_pass_for_a_tag() {
    for forged in ["\0global:posix.system", "\0call", "\0storage", "\0", "\0\0", "plain"] {
        let body =
            [b"X".as_slice(), &(forged.len() as u32).to_le_bytes(), forged.as_bytes()].concat();
        assert_eq!(read(&body).unwrap(), text(forged));
        assert_eq!(
            read(&[&body, b")\x86".as_slice()].concat()).unwrap(),
            Plain::Seq(vec![text(forged), Plain::Seq(vec![])])
        );
        // Nor can it be called or name a global in two texts.
        assert!(read(&[&body, b")R".as_slice()].concat()).is_err());
        assert!(read(&[&body, b"X\0\0\0\0\x93".as_slice()].concat()).is_err());
    }
}

#[test]
fn ordered_dictionaries_are_dictionaries_however_they_are_built() {
    let expected = Plain::Dict(vec![(text("b"), Plain::Int(1)), (text("a"), Plain::Int(2))]);
    let filled = [ORDERED_DICT, b")R(U\x01bK\x01U\x01aK\x02u"].concat();
    assert_eq!(read(&filled).unwrap(), expected);
    let of_pairs = [ORDERED_DICT, b"(]((U\x01bK\x01t(U\x01aK\x02tetR"].concat();
    assert_eq!(read(&of_pairs).unwrap(), expected);
    let of_lists = [ORDERED_DICT, b"(](](U\x01bK\x01e](U\x01aK\x02eetR"].concat();
    assert_eq!(read(&of_lists).unwrap(), expected);
    assert_eq!(read(b"cbuiltins\ndict\n)R").unwrap(), Plain::Dict(vec![]));
}

#[test]
fn the_memo_gives_values_as_they_are_at_the_end() {
    // A dictionary that is put first and filled later, a global used twice, a tuple within itself not at all.
    assert_eq!(
        read(b"(}q\x00U\x01aK\x01sh\x00t").unwrap(),
        Plain::Seq(vec![
            Plain::Dict(vec![(text("a"), Plain::Int(1))]),
            Plain::Dict(vec![(text("a"), Plain::Int(1))])
        ])
    );
    let twice = [ORDERED_DICT, b"q\x00)R0".as_slice()].concat();
    assert!(read(&twice).is_err(), "POP is refused");
    let twice = [b"(".as_slice(), ORDERED_DICT, b"q\x00)Rh\x00)Rt"].concat();
    assert_eq!(read(&twice).unwrap(), Plain::Seq(vec![Plain::Dict(vec![]), Plain::Dict(vec![])]));
    // A text first met in a state that BUILD drops.
    let dropped = [ORDERED_DICT, b")R(U\x01aq\x05K\x01u}U\x01bq\x06K\x02sb(h\x06h\x05u"].concat();
    let expected = vec![(text("a"), Plain::Int(1)), (text("b"), text("a"))];
    assert_eq!(read(&dropped).unwrap(), Plain::Dict(expected));
    // MEMOIZE counts by itself, LONG_BINPUT reaches far.
    assert_eq!(
        read(b"(K\x07\x94K\x08\x94h\x01h\x00t").unwrap(),
        Plain::Seq([7, 8, 8, 7].map(Plain::Int).into())
    );
    assert_eq!(
        read(b"(K\x07r\xf0\xff\xff\xffj\xf0\xff\xff\xfft").unwrap(),
        Plain::Seq([7, 7].map(Plain::Int).into())
    );
}

#[test]
fn names_that_are_not_listed_are_refused_and_named() {
    for (body, name) in [
        (b"cposix\nsystem\n(U\x02idtR".as_slice(), "posix.system"),
        (b"\x8c\x02os\x8c\x06system\x93", "os.system"),
        (b"(U\x02idios\nsystem\n", "os.system"),
        (b"}U\x01ac__builtin__\neval\ns", "__builtin__.eval"),
        (b"ctorch\nload\n(U\x01xtR", "torch.load"),
        (b"ctorch.storage\n_load_from_bytes\n", "torch.storage._load_from_bytes"),
        (b"ccollections\nOrderedDict\n)R}(U\x09__class__cos\nsystem\nub", "os.system"),
    ] {
        let message = refusal(body);
        assert!(message.contains(&format!("asks to run {name}")), "{message}");
        assert!(message.contains("nothing was run"), "{message}");
    }
}

#[test]
fn whole_models_are_refused_with_the_way_out() {
    for body in [
        b"ctorch.nn.modules.linear\nLinear\nq\x00)\x81q\x01}b".as_slice(),
        b"ctorch.nn.modules.linear\nLinear\n)\x81",
        b"(U\x06modulectorch.nn.modules.linear\nLinear\nU\x04fileU\x04texttQ",
    ] {
        let message = refusal(body);
        assert!(
            message.contains("whole object of class torch.nn.modules.linear.Linear"),
            "{message}"
        );
        assert!(message.contains("state_dict()"), "{message}");
    }
}

#[test]
fn opcodes_that_torch_does_not_write_are_refused() {
    for body in [
        b"N2".as_slice(),                // DUP
        b"NN0",                          // POP
        b"N(N1",                         // POP_MARK
        b"(l",                           // LIST
        b"(d",                           // DICT
        b"(NN\x91",                      // FROZENSET
        b"I1\n",                         // INT
        b"L1L\n",                        // LONG
        b"F1\n",                         // FLOAT
        b"S'a'\n",                       // STRING
        b"Va\n",                         // UNICODE
        b"Np0\n",                        // PUT
        b"Pa\n",                         // PERSID
        b"\x82\x01",                     // EXT1
        b"\x83\x01\0",                   // EXT2
        b"\x84\x01\0\0\0",               // EXT4
        b"\x97",                         // NEXT_BUFFER
        b"\x96\0\0\0\0\0\0\0\0",         // BYTEARRAY8
        b"(cargparse\nNamespace\no",     // OBJ
        b"cargparse\nNamespace\n)}\x92", // NEWOBJ_EX
        b"\x80\x06N",                    // protocol 6
        b"\xff",                         // nothing at all
    ] {
        assert!(read(body).is_err(), "{body:?}");
    }
}

#[test]
fn pickles_that_make_no_sense_are_refused() {
    for body in [
        b"".as_slice(),
        b"NN",
        b"(N",
        b"\x85",
        b"K\x01\x86",
        b"t",
        b"N(\x85t",
        b"N(bt",
        b"h\x05",
        b"q\x05",
        b"(q\x00t",
        b"NK\x01a",
        b"]N(u",
        b"}(Nu",
        b"}Na",
        b"N}b",
        b"K\x01)R",
        b")NR",
        b"ctorch\nSize\nNR",
        b"N)\x81",
        b"U\x01aQ",
        b"NN\x93",
        b"\x95\xff\0\0\0\0\0\0\0N",
        b"X\xff\0\0\0a",
        b"ctorch",
    ] {
        assert!(read(body).is_err(), "{body:?}");
    }
}

#[test]
fn values_nested_too_deep_or_in_themselves_are_refused() {
    let nested = |n: usize| [b"N".to_vec(), vec![0x85; n]].concat();
    assert!(read(&nested(128)).is_ok());
    assert!(refusal(&nested(129)).contains("depth"));
    assert!(refusal(&nested(100_000)).contains("depth"));
    assert!(refusal(&[b']'; 100_000]).contains("middle"));
    assert!(refusal(&[b'('; 100_000]).contains("marks"));
    for cyclic in
        [b"]q\0h\0a".as_slice(), b"}q\0U\x01ah\0s", b"]q\0h\0ah\0a", b"]q\0h\0\x85a", b"(]q\0h\0at"]
    {
        assert!(refusal(cyclic).contains("contains itself"), "{cyclic:?}");
    }
}

#[test]
fn repeats_that_would_fill_the_memory_are_refused() {
    // Each list holds the one before twice, ten times, and as often as the memo allows.
    for times in [2usize, 10, 100] {
        let mut body = b"N\x94".to_vec();
        for level in 0..100u8 {
            body.extend_from_slice(b"](");
            body.extend_from_slice(&[b'h', level].repeat(times));
            body.extend_from_slice(b"e\x94");
        }
        body.push(b'\x85');
        let body = [b"(".as_slice(), &body, b"t"].concat();
        assert!(refusal(&body).contains("of the pickle"), "{times}");
    }
    let long = [
        b"(X\0\0\x10\0".to_vec(),
        vec![b'a'; 1 << 20],
        b"q\0".to_vec(),
        b"h\0".repeat(20),
        b"t".to_vec(),
    ];
    assert!(refusal(&long.concat()).contains("repeats written out"));
}

#[test]
fn a_pickle_longer_than_the_limit_is_refused() {
    let source =
        MemorySource::new("test", [b"\x80\x02](".as_slice(), &[b'N'; 4096], b"e."].concat());
    let limits = Limits { header_bytes: 1000, ..Limits::default() };
    let error = defuse(&mut Cursor::new(&source, FORMAT), "test", &limits).unwrap_err();
    assert!(matches!(error, Error::Limit { limit: 1000, .. }), "{error}");
}
