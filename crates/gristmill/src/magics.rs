//! The table of beginnings: how files of each kind begin, and what is known of the kind.

/// One kind of file.
pub(crate) struct Magic {
    /// The first bytes.
    pub(crate) begins: &'static [u8],
    /// The bytes behind them: a version, where it matters.
    pub(crate) then: &'static [u8],
    /// What it is, in one line.
    pub(crate) what: &'static str,
    /// The tools that write such files, and when.
    pub(crate) written_by: &'static str,
    /// Who reads them today.
    pub(crate) read_by: &'static str,
    /// The next step; FILE and OUT stand for the file's path and that of a GGUF file beside it.
    pub(crate) next: &'static str,
}

impl Magic {
    /// Whether a file begins so.
    pub(crate) fn fits(&self, head: &[u8]) -> bool {
        head.strip_prefix(self.begins).is_some_and(|rest| rest.starts_with(self.then))
    }
}

macro_rules! magics {
    ($($begins:literal $(, $then:literal)? => $what:literal, by $written_by:expr, for $read_by:expr, next $next:expr;)*) => {
        /// Every beginning; of several that fit, the first counts.
        pub(crate) static MAGICS: &[Magic] = &[$(Magic {
            begins: $begins,
            then: magics!(@then $($then)?),
            what: $what,
            written_by: $written_by,
            read_by: $read_by,
            next: $next,
        }),*];
    };
    (@then) => { b"" };
    (@then $then:literal) => { $then };
}

const CONVERT: &str = "gristmill convert FILE -o OUT for today's programs, or gristmill run FILE";
const RUN: &str = "gristmill run FILE, or gristmill convert FILE -o out.gguf --outtype q4_0";
pub(crate) const UNPACK: &str = "unpack it first";
pub(crate) const ORIGINAL: &str = "take the original model in Hugging Face's layout";
pub(crate) const BESIDE: &str =
    "gristmill convert FILE, with config.json and the tokenizer's files beside it";
const KOBOLD: &str = "gristmill, koboldcpp";
const KOBOLD_AND_GPT4ALL: &str = "gristmill, koboldcpp, GPT4All 1.0.8";
const WHISPER: &str = "run it with whisper.cpp";

magics! {
    // GGUF: the version tells the byte order.
    b"GGUF", b"\x01\0\0\0" => "this is a GGUF v1 file", by "llama.cpp from 21 to 27 August 2023",
        for "gristmill; llama.cpp no longer", next CONVERT;
    b"GGUF", b"\x02\0\0\0" => "this is a GGUF v2 file", by "llama.cpp from 27 August to October 2023",
        for "llama.cpp and what is built on it, gristmill", next RUN;
    b"GGUF", b"\x03\0\0\0" => "this is a GGUF v3 file", by "llama.cpp since October 2023, gristmill",
        for "llama.cpp and what is built on it, gristmill", next RUN;
    b"GGUF", b"\0\0\0" => "this is a GGUF file in big-endian order", by "llama.cpp on big-endian machines since October 2023",
        for "llama.cpp on such machines, gristmill everywhere", next RUN;
    b"GGUF" => "this is a GGUF file of an unknown version", by "", for "", next "update gristmill, or download it again";
    b"FUGG" => "this is a GGUF file whose bytes were swapped", by "", for "", next "download it again";

    // Before GGUF. The second words of whisper.cpp's files are the sizes of its vocabularies.
    b"lmgg", b"\x98\xca\0\0" => "this is a model of whisper.cpp, which writes down speech", by "whisper.cpp", for "whisper.cpp", next WHISPER;
    b"lmgg", b"\x99\xca\0\0" => "this is a model of whisper.cpp, which writes down speech", by "whisper.cpp", for "whisper.cpp", next WHISPER;
    b"lmgg", b"\x9a\xca\0\0" => "this is a model of whisper.cpp, which writes down speech", by "whisper.cpp", for "whisper.cpp", next WHISPER;
    b"lmgg" => "this is a GGML file, a model of before August 2023 without a version",
        by "ggml's example programs since September 2022, llama.cpp from 10 to 20 March 2023, GPT4All (GPT-J), llm-rs, bloomz.cpp",
        for "gristmill, ctransformers and koboldcpp, each some of the block layouts", next CONVERT;
    b"fmgg", b"\x01\0\0\0" => "this is a GGMF v1 file, a LLaMA model", by "llama.cpp from 20 to 30 March 2023",
        for KOBOLD, next CONVERT;
    b"fmgg", b"\x64\0\0\0" => "this is an RWKV model of rwkv.cpp", by "rwkv.cpp", for "rwkv.cpp", next ORIGINAL;
    b"fmgg", b"\x65\0\0\0" => "this is an RWKV model of rwkv.cpp", by "rwkv.cpp", for "rwkv.cpp", next ORIGINAL;
    b"fmgg" => "this is a GGMF file of a version that nobody is known to have written", by "", for "",
        next "download it again";
    b"tjgg", b"\x01\0\0\0" => "this is a GGJT v1 file, usually a LLaMA model",
        by "llama.cpp from 30 March to 12 May 2023; GPT4All (Falcon)", for KOBOLD_AND_GPT4ALL, next CONVERT;
    b"tjgg", b"\x02\0\0\0" => "this is a GGJT v2 file, a LLaMA model", by "llama.cpp from 12 to 19 May 2023",
        for KOBOLD_AND_GPT4ALL, next CONVERT;
    b"tjgg", b"\x03\0\0\0" => "this is a GGJT v3 file, usually a LLaMA model",
        by "llama.cpp from 19 May to 21 August 2023; llm-rs, for every architecture",
        for "gristmill, ctransformers, koboldcpp, GPT4All 1.0.8, llm-rs, candle", next CONVERT;
    b"tjgg" => "this is a GGJT file of a version that nobody is known to have written", by "", for "",
        next "download it again";
    b"ccgg" => "this is a GGCC file, a Falcon model", by "ggllm.cpp", for "ggllm.cpp, gristmill", next CONVERT;
    b"mmgg" => "this is a GGMM file, an MPT model", by "GPT4All in mid-2023", for "GPT4All 1.0.8, gristmill", next CONVERT;
    b"lper" => "this is a Replit model of GPT4All", by "GPT4All in mid-2023", for "GPT4All 1.0.8", next ORIGINAL;
    b"algg" => "this is a LoRA adapter of llama.cpp (GGLA), not a model", by "llama.cpp before GGUF", for "llama.cpp of that time",
        next "gristmill inspect FILE shows what it changes; run the model it was made for";
    b"nsgg" => "this is a saved session of llama.cpp, not a model", by "llama.cpp", for "the llama.cpp that wrote it", next "";
    b"ggml\0" => "this is a GGML file from a big-endian machine", by "", for "", next ORIGINAL;
    b"ggmf\0" => "this is a GGMF file from a big-endian machine", by "", for "", next ORIGINAL;
    b"ggjt\0" => "this is a GGJT file from a big-endian machine", by "", for "", next ORIGINAL;

    // Checkpoints.
    b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19" => "this is a PyTorch checkpoint of the older kind, a stream of pickles",
        by "torch.save before PyTorch 1.6", for "PyTorch, gristmill", next BESIDE;
    b"\x80" => "this is a pickle, but not one that PyTorch wrote", by "Python", for "",
        next "do not load it unless you trust its author: pickles run code";
    b"\x89HDF" => "this is an HDF5 file", by "Keras, TensorFlow", for "Keras", next ORIGINAL;
    b"\x93NUMPY" => "this is a NumPy array, not a checkpoint", by "NumPy", for "NumPy", next ORIGINAL;

    // What is no model at all.
    b"\x1f\x8b" => "this is a gzip archive", by "", for "", next UNPACK;
    b"\xfd7zXZ" => "this is an xz archive", by "", for "", next UNPACK;
    b"\x28\xb5\x2f\xfd" => "this is a zstd archive", by "", for "", next UNPACK;
    b"BZh" => "this is a bzip2 archive", by "", for "", next UNPACK;
    b"\x04\x22\x4d\x18" => "this is an lz4 archive", by "", for "", next UNPACK;
    b"7z\xbc\xaf\x27\x1c" => "this is a 7z archive", by "", for "", next UNPACK;
    b"Rar!" => "this is a rar archive", by "", for "", next UNPACK;
    b"MZqFpD" => "this is a llamafile, a program with a model inside", by "llamafile", for "itself: run it",
        next "unzip it to get at the model";
    b"\x7fELF", b"\x02\x01\x01\0AI\x02" => "this is an AppImage, a program for Linux, not a model", by "", for "", next "";
    b"\x7fELF" => "this is a program for Linux, not a model", by "", for "", next "";
    b"MZ" => "this is a program for Windows, not a model", by "", for "", next "";
    b"\xcf\xfa\xed\xfe" => "this is a program for macOS, not a model", by "", for "", next "";
    b"%PDF" => "this is a PDF document, not a model", by "", for "", next "";
    b"\0\x05\x16\x07" => "this is what macOS keeps about a file, not the file", by "macOS, when it copies to other disks", for "macOS",
        next "take the file of the same name without the leading ._";
}
