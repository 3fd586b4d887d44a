//! Files of `torch.save`: what PyTorch finds in them, and what is refused.

use crate::common::{Case, Fixtures};
use elman::Float;
use elman::ndarray::{ArrayD, array};
use elman::run::{RunOptions, run};
use elman::weights::{TensorFile, write_tensors};
use proptest::prelude::*;
use std::path::Path;

fn fixtures() -> Fixtures {
    Fixtures::open("files/expected.safetensors")
}

fn bytes(file: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/torch/files");
    std::fs::read(folder.join(file)).unwrap()
}

/// Every number of the file, by name and bit for bit.
fn contents(file: &TensorFile<'_>) -> Vec<(String, Vec<usize>, Vec<u64>)> {
    let contents = file.names().into_iter().map(|name| {
        let shape = file.shape(name).unwrap().to_vec();
        let bits = match &*file.stored(name).unwrap() {
            "F64" => bits(file.get::<f64>(name)),
            "F32" | "F16" | "BF16" => bits(file.get::<f32>(name)),
            _ => {
                let integers = file.get_i64(name).unwrap().unwrap();
                assert_eq!(integers.shape(), shape);
                integers.iter().map(|n| n.cast_unsigned()).collect()
            }
        };
        (name.to_owned(), shape, bits)
    });
    contents.collect()
}

fn bits<F: Float>(values: elman::Result<Option<ArrayD<F>>>) -> Vec<u64> {
    let values = values.unwrap().unwrap();
    values.iter().map(|x| x.f64().to_bits()).collect()
}

#[test]
fn every_file_holds_what_pytorch_finds() {
    let (mut read, mut refused) = (0, 0);
    for case in fixtures().cases() {
        let bytes = bytes(case.name);
        match case.options["refused"].as_str() {
            Some(why) => {
                let e = TensorFile::read(&bytes).unwrap_err();
                assert!(
                    e.is_file() && e.to_string().contains(why),
                    "{}: {e}",
                    case.name
                );
                refused += 1;
            }
            None => {
                check(&case, &bytes);
                read += 1;
            }
        }
    }
    assert!(read > 25 && refused > 12, "{read}, {refused}");
}

fn check(case: &Case<'_>, bytes: &[u8]) {
    let name = case.name;
    let file = TensorFile::read(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(
        file.place().unwrap_or_default(),
        case.options["place"],
        "{name}"
    );
    for (tensor, dtype) in case.options["stored"].as_object().unwrap() {
        let dtype = dtype.as_str().unwrap();
        let short = [
            ("bfloat", "BF"),
            ("float", "F"),
            ("uint", "U"),
            ("int", "I"),
        ];
        let (long, short) = short
            .iter()
            .find(|(long, _)| dtype.starts_with(long))
            .unwrap();
        let stored = dtype.replacen(long, short, 1);
        assert_eq!(file.stored(tensor), Some(stored), "{name} {tensor}");
    }
    let stored = case.options["stored"].as_object().unwrap();
    assert_eq!(file.names().len(), stored.len(), "{name}");

    let expected = self::bytes("expected.safetensors");
    let expected = TensorFile::read(&expected).unwrap();
    let of_file = contents(&expected)
        .into_iter()
        .filter_map(|(path, shape, bits)| {
            let tensor = path.strip_prefix(name)?.strip_prefix('/')?;
            Some((tensor.to_owned(), shape, bits))
        });
    let mut of_file: Vec<_> = of_file.collect();
    of_file.sort();
    let mut got = contents(&file.widened());
    got.sort();
    assert_eq!(got, of_file, "{name}");
}

#[test]
fn halves_and_short_integers_are_widened_on_request_only() {
    let halves = bytes("float16.pt");
    let file = TensorFile::read(&halves).unwrap();
    let e = file.get::<f32>("weight_ih_l0").unwrap_err().to_string();
    assert!(e.contains("expected F32 numbers, got F16"), "{e}");
    assert!(file.float_dtype(|_| true).is_err());
    let file = file.widened();
    assert!(file.get::<f32>("weight_ih_l0").unwrap().is_some());
    assert!(file.get::<f64>("weight_ih_l0").is_err());
    let whole = bytes("whole.pt");
    let file = TensorFile::read(&whole).unwrap();
    assert!(file.get_i64("int32").is_err() && file.get_i64("int64").is_ok());
}

#[test]
fn a_layer_runs_from_every_kind_of_file() {
    let x = array![[[0.5, -1.0, 2.0]], [[0.25, 1.0, -0.5]]];
    let fixtures = fixtures();
    for file in [
        "rnn.pt",
        "gru.pt",
        "lstm.pt",
        "gru_legacy.pt",
        "float64.pt",
        "float16_legacy.pt",
        "bfloat16.pt",
        "checkpoint.pt",
        "prefixed_legacy.pt",
        "deep.pt",
    ] {
        let case = fixtures.cases().find(|c| c.name == file).unwrap();
        if file.starts_with("float64") {
            runs_alike(&case, &x.clone().into_dyn());
        } else {
            runs_alike(&case, &x.mapv(|x| x as f32).into_dyn());
        }
    }
}

/// The file gives the bytes that a safetensors file of its numbers gives.
fn runs_alike<F: Float>(case: &Case<'_>, x: &ArrayD<F>) {
    let names = case.names("");
    let tensors: Vec<(String, ArrayD<F>)> =
        names.iter().map(|n| (n.clone(), case.need(n))).collect();
    let known = write_tensors(tensors.iter().map(|(n, a)| (n.clone(), a.view())), None).unwrap();
    let (_, weight) = tensors
        .iter()
        .find(|(n, _)| n.ends_with("weight_ih_l0"))
        .unwrap();
    let x = x.slice_each_axis(|axis| {
        let features = if axis.axis.index() == 2 {
            weight.shape()[1]
        } else {
            axis.len
        };
        (0..features).into()
    });
    let input = write_tensors([("input".to_owned(), x)], None).unwrap();
    let options = RunOptions::default();
    let expected = run(&known, &input, &options).unwrap();
    let got = run(&bytes(case.name), &input, &options).unwrap();
    assert!(got.bytes == expected.bytes, "{}", case.name);
}

#[test]
fn a_damaged_file_is_an_error_or_means_the_same() {
    for case in fixtures().cases() {
        let good = bytes(case.name);
        for end in 0..good.len() {
            let e = TensorFile::read(&good[..end]).unwrap_err();
            assert!(e.is_file(), "{} cut at {end}: {e}", case.name);
        }
        // The older format has no checksums.
        let sealed = good.starts_with(b"PK") && case.name != "no_checksums.pt";
        let expected = TensorFile::read(&good).map(|f| contents(&f.widened()));
        let mut bad = good.clone();
        for at in 0..good.len() {
            for flip in [0x01, 0x80, 0xff] {
                bad[at] ^= flip;
                match TensorFile::read(&bad) {
                    Ok(file) if sealed => {
                        assert_eq!(
                            Ok(contents(&file.widened())),
                            expected,
                            "{} {at}",
                            case.name
                        );
                    }
                    Ok(file) => read_all(&file.widened()),
                    Err(e) => assert!(e.is_file()),
                }
                bad[at] ^= flip;
            }
        }
    }
}

/// Asks for everything; only a panic would be wrong.
fn read_all(file: &TensorFile<'_>) {
    for name in file.names() {
        let _ = file.get::<f32>(name);
        let _ = file.get::<f64>(name);
        let _ = file.get_i64(name);
    }
}

// ---------------------------------------------------------------------------
// Pickles by hand

/// A little assembler: the fragments one after another.
fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn text(s: &str) -> Vec<u8> {
    let length = u32::try_from(s.len()).unwrap().to_le_bytes();
    join(&[b"X", &length, s.as_bytes()])
}

fn int(n: i64) -> Vec<u8> {
    join(&[b"\x8a\x08", &n.to_le_bytes()])
}

fn tuple(items: &[i64]) -> Vec<u8> {
    let items: Vec<_> = items.iter().flat_map(|n| int(*n)).collect();
    join(&[b"(", &items, b"t"])
}

fn storage(key: &str, count: i64) -> Vec<u8> {
    let (name, key, cpu) = (text("storage"), text(key), text("cpu"));
    let class = b"ctorch\nFloatStorage\n";
    join(&[b"(", &name, class, &key, &cpu, &int(count), b"tQ"])
}

/// A tensor in the storage `0`.
fn tensor(count: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let (shape, strides) = (tuple(shape), tuple(strides));
    let function = b"ctorch._utils\n_rebuild_tensor_v2\n(";
    let storage = storage("0", count);
    join(&[
        function,
        &storage,
        &int(offset),
        &shape,
        &strides,
        b"\x89NtR",
    ])
}

/// `{"w": value}`.
fn dict(value: &[u8]) -> Vec<u8> {
    join(&[b"\x80\x02}", &text("w"), value, b"s."])
}

/// An archive with that pickle and one storage of four numbers.
fn archive(pickle: &[u8]) -> Vec<u8> {
    zip(&[("a/data.pkl", pickle), ("a/data/0", &[0; 16])])
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let header = u32::try_from(file.len()).unwrap().to_le_bytes();
        let size = u32::try_from(data.len()).unwrap().to_le_bytes();
        let name_len = u16::try_from(name.len()).unwrap().to_le_bytes();
        let sizes = join(&[&[0; 4], &size, &size, &name_len, &[0; 2]]);
        file.extend(join(&[
            b"PK\x03\x04",
            &[0; 10],
            &sizes,
            name.as_bytes(),
            data,
        ]));
        let place = join(&[&[0; 10], &header, name.as_bytes()]);
        directory.extend(join(&[b"PK\x01\x02", &[0; 12], &sizes, &place]));
    }
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let start = u32::try_from(file.len()).unwrap().to_le_bytes();
    let size = u32::try_from(directory.len()).unwrap().to_le_bytes();
    let end = join(&[
        b"PK\x05\x06",
        &[0; 4],
        &count,
        &count,
        &size,
        &start,
        &[0; 2],
    ]);
    join(&[&file, &directory, &end])
}

/// The first pickles of the older format.
fn head() -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
    join(&[magic, b"\x80\x02M\xe9\x03.", b"\x80\x02}."])
}

fn refuse(bytes: &[u8], words: &str) {
    match TensorFile::read(bytes) {
        Err(e) => assert!(e.is_file() && e.to_string().contains(words), "{words}: {e}"),
        Ok(file) => panic!("{words}: read {:?}", file.names()),
    }
}

#[test]
fn by_hand_the_formats_are_read() {
    let good = dict(&tensor(4, 1, &[3], &[1]));
    let bytes = archive(&good);
    let file = TensorFile::read(&bytes).unwrap();
    assert_eq!(
        file.get::<f32>("w").unwrap(),
        Some(array![0.0, 0.0, 0.0].into_dyn())
    );

    let storage = join(&[&4_u64.to_le_bytes(), &[0; 16]]);
    let keys = join(&[b"\x80\x02]", &text("0"), b"a."]);
    let bytes = join(&[&head(), &good, &keys, &storage]);
    assert_eq!(TensorFile::read(&bytes).unwrap().names(), ["w"]);
    refuse(&join(&[&bytes, b"more"]), "4 bytes follow");
    let longer = join(&[&5_u64.to_le_bytes(), &[0; 20]]);
    refuse(
        &join(&[&head(), &good, &keys, &longer]),
        "expected 4 numbers, got 5",
    );
    let other = join(&[b"\x80\x02]", &text("1"), b"a."]);
    refuse(
        &join(&[&head(), &good, &other, &storage]),
        "no tensor uses the storage 1",
    );
    refuse(
        &join(&[&head(), &good, b"\x80\x02].", b""]),
        "storage 0 is missing",
    );
    refuse(&join(&[&head(), &good, b"\x80\x02}."]), "expected a list");
    refuse(&good, "magic number");
}

#[test]
fn a_wrong_pickle_is_refused_with_the_reason() {
    let nested = join(&[b"\x80\x02)", &[0x85; 1 << 18], b"."]);
    let many = join(&[b"\x80\x02)", &[0x85; 1 << 20], b"."]);
    let long = "long ".repeat(10_000);
    let again = [b"h\x00h\x01".as_slice()].repeat(20_000).concat();
    let repeated = join(&[
        b"\x80\x02",
        &text(&long),
        b"q\x00",
        &tensor(4, 0, &[4], &[1]),
        b"q\x01}(",
        &again,
        b"u.",
    ]);
    let views: Vec<_> = (0..2000)
        .flat_map(|i| join(&[&text(&i.to_string()), b"h\x00"]))
        .collect();
    let views = join(&[
        b"\x80\x02",
        &tensor(4, 0, &[1 << 10], &[0]),
        b"q\x00}(",
        &views,
        b"u.",
    ]);
    let pairs = [b"NN\x86".as_slice()].repeat(1000).concat();
    let pairs = join(&[
        b"\x80\x02](",
        &pairs,
        b"eq\x00",
        &b"ccollections\nOrderedDict\nh\x00\x85R".repeat(100),
    ]);
    let deep_dicts = join(&[
        b"\x80\x02",
        &join(&[b"}", &text("a")]).repeat(3),
        &dict(&tensor(4, 0, &[4], &[1]))[2..],
    ]);
    let deep_dicts = join(&[&deep_dicts[..deep_dicts.len() - 1], b"sss."]);
    let own_item = join(&[b"\x80\x02}q\x00", &text("a"), b"h\x00s."]);
    let flagged = tensor(4, 0, &[4], &[1]);
    let flags = join(&[b"}", &text("neg"), b"\x88stR"]);
    let flagged = join(&[&flagged[..flagged.len() - 3], b"N", &flags]);
    let view = storage("0", 4);
    let view = join(&[&view[..view.len() - 2], b"(NNNttQ"]);
    let of = |storage: &[u8]| {
        let function = b"ctorch._utils\n_rebuild_tensor_v2\n(";
        join(&[
            function,
            storage,
            &int(0),
            &tuple(&[4]),
            &tuple(&[1]),
            b"tR",
        ])
    };
    let cases: &[(&[u8], &str)] = &[
        (b"", "ends within the pickle"),
        (b"\x80\x02", "ends within the pickle"),
        (b"\x80\x09}.", "protocol 9"),
        (b"\x80\x02.", "nothing on the stack"),
        (b"\x80\x02(.", "nothing on the stack"),
        (b"\x80\x02N(q\x00", "nothing on the stack"),
        (b"\x80\x02t", "no mark"),
        (b"\x80\x02h\x07", "place 7"),
        (b"\x80\x02j\xff\xff\xff\xff", "place 4294967295"),
        (b"\x80\x02X\xff\xff\xff\xffabc", "ends within the pickle"),
        (b"\x80\x02B\xff\xff\xff\xffabc", "ends within the pickle"),
        (b"\x80\x02\x8a\xff", "ends within the pickle"),
        (
            b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff",
            "ends within the pickle",
        ),
        (b"\x80\x02cos\nsystem", "ends within the pickle"),
        (
            b"\x80\x02cos\nsystem\n.",
            "byte 2: the file asks for os.system,",
        ),
        (b"\x80\x02cos\n\xff\n.", "not UTF-8"),
        (
            b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
            "asks for os.system,",
        ),
        (b"\x80\x04NN\x93.", "not a string"),
        (b"\x80\x02cbuiltins\neval\n.", "builtins.eval"),
        (b"\x80\x02c__main__\nNet\n.", "__main__.Net"),
        (b"\x80\x02ctorch.nn\nParameter\n.", "torch.nn.Parameter"),
        (b"\x80\x02ctorch\nQInt8Storage\n.", "torch.QInt8Storage"),
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"S'text'\n.", "opcode 'S'"),
        (b"\x80\x02(ios\nsystem\n.", "opcode 'i'"),
        (b"\x80\x02N)R.", "None is called with a tuple"),
        (
            b"\x80\x02ctorch\nSize\nNR.",
            "a class or function is called with None",
        ),
        (
            b"\x80\x02ccollections\nOrderedDict\nN\x85R.",
            "something else than pairs",
        ),
        (
            b"\x80\x02ccollections\nOrderedDict\n](Ne\x85R.",
            "something else than pairs",
        ),
        (
            b"\x80\x02ccollections\nOrderedDict\n](](NNNee\x85R.",
            "something else than pairs",
        ),
        (
            b"\x80\x02NNb.",
            "attributes can be given to a dict, not None",
        ),
        (b"\x80\x02NNNs.", "entries can be added to a dict, not None"),
        (b"\x80\x02NNa.", "items can be added to a list, not to None"),
        (b"\x80\x02}(Nu.", "key without a value"),
        (b"\x80\x02N.", "expected a state_dict, got None"),
        (b"\x80\x02K\x07.", "expected a state_dict, got 7"),
        (b"\x80\x02].", "got a list"),
        (b"\x80\x02}.", "no dict holds tensors"),
        (&nested, "got a tuple"),
        (&many, "more than 524288 values"),
        (b"\x80\x02Nr\xff\xff\xff\xff.", "place 4294967295, after 0"),
        (b"\x80\x02Nq\x00q\x03.", "place 3, after 1"),
        (&[b'('; 1 << 17], "more than its bytes can mean"),
        (&[b'N'; 1 << 17], "more than its bytes can mean"),
        (&repeated, "two tensors are named long"),
        (&views, "16 times as large"),
        (&pairs, "more than its bytes can mean"),
        (&deep_dicts, "no dict holds tensors"),
        (&own_item, "no dict holds tensors"),
        (&dict(&flagged), "negated"),
        (
            &dict(&join(&[&flagged[..flagged.len() - 2], b"NtR"])),
            "not a tensor",
        ),
        (
            &dict(&tensor(4, 0, &[5], &[1])),
            "beyond the storage of 4 numbers",
        ),
        (&dict(&tensor(4, 4, &[1], &[1])), "beyond the storage"),
        (&dict(&tensor(4, 0, &[2, 2], &[3, 1])), "beyond the storage"),
        (
            &dict(&tensor(4, i64::MAX, &[2], &[i64::MAX])),
            "beyond the storage",
        ),
        (
            &dict(&tensor(4, 0, &[i64::MAX, i64::MAX], &[0, 0])),
            "16 times as large",
        ),
        (
            &dict(&tensor(4, 0, &[i64::MAX, i64::MAX, 0], &[1, 1, 1])),
            "16 times as large",
        ),
        (&dict(&tensor(4, 0, &[-1], &[1])), "expected a size, got -1"),
        (&dict(&tensor(4, -1, &[1], &[1])), "expected a size, got -1"),
        (&dict(&tensor(4, 0, &[4], &[-1])), "expected a size, got -1"),
        (&dict(&tensor(4, 0, &[2, 2], &[1])), "2 axes, but 1 strides"),
        (&dict(&tensor(4, 0, &[1; 17], &[1; 17])), "at most 16 axes"),
        (
            &dict(&tensor(3, 0, &[1], &[1])),
            "expected 12 bytes, got 16",
        ),
        (
            &dict(&tensor(-3, 0, &[1], &[1])),
            "no file holds so many numbers",
        ),
        (
            &dict(&tensor(i64::MAX, 0, &[1], &[1])),
            "no file holds so many numbers",
        ),
        (&dict(&of(&storage("1", 4))), "storage 1 is missing"),
        (&dict(&of(&storage(&long, 4))), "not one of PyTorch's"),
        (&dict(&of(&view)), "not one of PyTorch's"),
        (&dict(&of(b"NQ")), "description of a storage, got None"),
        (&dict(&of(b"N")), "not a tensor as PyTorch describes it"),
        (
            &dict(b"ctorch._utils\n_rebuild_tensor_v2\n)R"),
            "not a tensor",
        ),
        (
            &dict(b"ctorch._utils\n_rebuild_parameter\n)R"),
            "not a tensor",
        ),
        (
            &dict(b"ctorch._utils\n_rebuild_parameter\nN\x85R"),
            "not a tensor",
        ),
        (
            &dict(b"ctorch._utils\n_rebuild_tensor_v3\n(NNNNtR"),
            "not a tensor",
        ),
    ];
    for (pickle, words) in cases {
        refuse(&archive(pickle), words);
        // The same where the object of the older format is read.
        let e = TensorFile::read(&join(&[&head(), pickle])).unwrap_err();
        assert!(e.is_file(), "{words}: {e}");
    }
}

#[test]
fn a_wrong_archive_is_refused_with_the_reason() {
    let pickle = dict(&tensor(4, 0, &[4], &[1]));
    let good = archive(&pickle);
    assert!(TensorFile::read(&good).is_ok());
    let directory = good.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let second = good.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    let end = good.len() - 22;
    let patched = |at: usize, to: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let cases: &[(Vec<u8>, &str)] = &[
        (join(&[&good, b"x"]), "cut off, or added to"),
        (patched(end + 20, &[1, 0]), "cut off, or added to"),
        (patched(end + 16, &[0xff; 4]), "zip64"),
        (patched(end + 12, &[0xff; 4]), "zip64"),
        (patched(end + 10, &[0xff; 2]), "zip64"),
        (patched(end + 10, &[3, 0]), "2 entries, 3 are expected"),
        (
            patched(end + 12, &[0xff, 0xff, 0xff, 0x7f]),
            "outside of the file",
        ),
        (patched(end + 12, &[7, 0, 0, 0]), "directory is damaged"),
        (
            patched(directory + 28, &[0xff, 0xff]),
            "directory is damaged",
        ),
        (
            patched(directory + 30, &[0xff, 0xff]),
            "directory is damaged",
        ),
        (patched(directory + 8, &[1, 0]), "encrypted"),
        (patched(directory + 10, &[8, 0]), "compressed"),
        (patched(directory + 10, &[99, 0]), "compressed"),
        (patched(directory + 34, &[1, 0]), "another volume"),
        (
            patched(directory + 20, &[1, 0, 0, 0]),
            "two different sizes",
        ),
        (
            patched(directory + 20, &[0xfe; 8]),
            "outside of the archive",
        ),
        (
            patched(directory + 42, &[0xfe; 4]),
            "outside of the archive",
        ),
        (
            patched(directory + 42, &[1, 0, 0, 0]),
            "not where the directory has it",
        ),
        (patched(directory + 16, &[1, 0, 0, 0]), "checksum"),
        (
            patched(second + 46, b"a/data/1"),
            "not where the directory has it",
        ),
        (zip(&[("a/data/0", &[0; 16])]), "no entry data.pkl"),
        (zip(&[]), "no entry data.pkl"),
        (zip(&[("a/data.pkl", &pickle)]), "storage 0 is missing"),
        (
            zip(&[("a/data.pkl", &pickle), ("b/data/0", &[0; 16])]),
            "several folders: a and b",
        ),
        (
            zip(&[("a/x", b""), ("a/x", b"")]),
            "two entries are named x",
        ),
        (
            zip(&[("data.pkl", &pickle)]),
            "no name that torch.save would give",
        ),
        (
            zip(&[("/etc/passwd", b"")]),
            "no name that torch.save would give",
        ),
        (
            zip(&[("a/../../b", b"")]),
            "no name that torch.save would give",
        ),
        (zip(&[("a/./b", b"")]), "no name that torch.save would give"),
        (zip(&[("a/", b"")]), "no name that torch.save would give"),
        (
            zip(&[("a\\b/c", b"")]),
            "no name that torch.save would give",
        ),
        (zip(&[("C:/b", b"")]), "no name that torch.save would give"),
        (zip(&[("a/b\0", b"")]), "no name that torch.save would give"),
        (zip(&[("a/constants.pkl", b"")]), "torch.jit.save"),
    ];
    for (bytes, words) in cases {
        // The first bytes of an empty archive are those of its end.
        assert!(bytes.starts_with(b"PK"));
        refuse(bytes, words);
    }

    // An entry inside of another, as bombs have them.
    let inner = join(&[
        b"PK\x03\x04",
        &[0; 22],
        &[8, 0, 0, 0],
        b"a/data/0",
        &[0; 16],
    ]);
    let outer = zip(&[("a/data/1", &inner), ("a/data/0", &[0; 16])]);
    let second = outer.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    let mut overlapping = outer.clone();
    overlapping[second + 42..second + 46].copy_from_slice(&38_u32.to_le_bytes());
    refuse(&outer, "no entry data.pkl");
    refuse(&overlapping, "a/data/1 and a/data/0 overlap");
}

#[test]
fn a_safetensors_file_may_begin_as_a_pickle_does() {
    let a = array![1.0_f32].into_dyn();
    let mut seen = 0;
    for length in 1..200 {
        let name = "n".repeat(length);
        let bytes = write_tensors([(name.clone(), a.view())], None).unwrap();
        seen += usize::from(bytes[0] == 0x80);
        assert_eq!(TensorFile::read(&bytes).unwrap().names(), [name]);
    }
    assert!(seen > 0);
}

// ---------------------------------------------------------------------------
// Soup

/// Pieces that pickles are made of, whole and broken.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec(),
        b"ctorch._utils\n_rebuild_tensor_v3\n".to_vec(),
        b"ctorch._utils\n_rebuild_parameter\n".to_vec(),
        b"ccollections\nOrderedDict\n".to_vec(),
        b"ctorch\nSize\n".to_vec(),
        b"ctorch\nFloatStorage\n".to_vec(),
        b"ctorch\nfloat16\n".to_vec(),
        storage("0", 4),
        tensor(4, 0, &[2, 2], &[2, 1]),
        text("w"),
        text("model"),
    ];
    let opcodes = b"(.)]}NtaesuRQbqhrjJKMGXUTBC\x80\x81\x85\x86\x87\x88\x8a\x8c\x93\x94\x95";
    prop_oneof![
        4 => proptest::sample::select(known.to_vec()),
        8 => proptest::sample::select(opcodes.to_vec()).prop_map(|b| vec![b]),
        3 => (0..4_u8).prop_map(|n| vec![b'q', n]),
        3 => (0..4_u8).prop_map(|n| vec![b'h', n]),
        2 => any::<i64>().prop_map(int),
        1 => (any::<i64>(), any::<i64>(), any::<i64>()).prop_map(|(o, a, s)| tensor(4, o, &[a], &[s])),
        1 => any::<u8>().prop_map(|b| vec![b]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn soup_of_opcodes_never_panics(pieces in proptest::collection::vec(piece(), 0..40)) {
        let soup = pieces.concat();
        for bytes in [archive(&soup), archive(&dict(&soup)), join(&[&head(), &soup])] {
            if let Ok(file) = TensorFile::read(&bytes) {
                read_all(&file);
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(
        start in proptest::sample::select(vec![&b""[..], b"PK", b"PK\x03\x04", b"\x80\x02", b"\x80\x04\x95"]),
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = join(&[start, &bytes]);
        prop_assert!(TensorFile::read(&bytes).is_err());
    }

    #[test]
    fn strides_reach_what_they_say(
        offset in 0..4_usize,
        shape in proptest::collection::vec(0..4_usize, 0..4),
        strides in proptest::collection::vec(0..4_usize, 4),
    ) {
        let strides = &strides[..shape.len()];
        let wide = |v: &[usize]| v.iter().map(|n| *n as i64).collect::<Vec<_>>();
        let count = 24;
        let data: Vec<u8> = (0..count).flat_map(|n| (n as f32).to_le_bytes()).collect();
        let pickle = dict(&tensor(count, offset as i64, &wide(&shape), &wide(strides)));
        let bytes = zip(&[("a/data.pkl", &pickle), ("a/data/0", &data)]);
        let places = elman::ndarray::indices(&shape[..]).into_iter().map(|index| {
            offset + (0..shape.len()).map(|axis| index[axis] * strides[axis]).sum::<usize>()
        });
        let places: Vec<_> = places.collect();
        match TensorFile::read(&bytes) {
            Ok(file) => {
                let got = file.get::<f32>("w").unwrap().unwrap();
                prop_assert_eq!(got.shape(), &shape[..]);
                let got: Vec<_> = got.iter().map(|x| *x as usize).collect();
                prop_assert_eq!(got, places);
            }
            Err(_) => prop_assert!(places.iter().any(|p| *p >= 24)),
        }
    }
}
