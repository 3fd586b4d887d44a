//! Weights files from one format to the other and back.

use elman::cell::CellKind;
use elman::layer::RecurrentConfig;
use elman::ndarray::{ArrayD, array};
use elman::network::{
    ChainConfig, ChainLayer, EncoderDecoderConfig, NamedLayer, Network, NetworkConfig,
    OneToManyConfig, Readout, SequenceConfig, Skip,
};
use elman::params::Storage;
use elman::run::{RunOptions, probe};
use elman::weights::{
    ConvertOptions, Format, Header, Model, Precision, TensorFile, compare, convert, model_layers,
    write_tensors,
};
use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::path::Path;

const FORMATS: [Format; 2] = [Format::Safetensors, Format::Torch];

fn plain() -> ConvertOptions {
    ConvertOptions::default()
}

/// Every file of torch.save that is read, through both formats, keeps names,
/// types, shapes and bits.
#[test]
fn every_readable_file_survives_both_formats() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/torch/files");
    let (mut seen, mut refused) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let Ok(file) = TensorFile::read(&bytes) else {
            continue;
        };
        for format in FORMATS {
            let converted = match convert(&file, format, &plain()) {
                Ok(converted) => converted,
                // uint16 and uint32 came late to PyTorch, and in other words.
                Err(e) => {
                    assert!(e.to_string().contains("is not written with U"), "{e}");
                    refused += 1;
                    continue;
                }
            };
            let metadata = format == Format::Torch && path.ends_with("expected.safetensors");
            let notes = usize::from(file.place().is_some()) + usize::from(metadata);
            assert_eq!(converted.notes.len(), notes, "{path:?}");
            let once = TensorFile::read(&converted.bytes).unwrap();
            let same = |other: &TensorFile<'_>| {
                let compared = compare(&file, other, &plain()).unwrap();
                assert!(compared.iter().all(|t| t.bit_for_bit && t.from == t.to));
            };
            same(&once);
            for format in FORMATS {
                if let Ok(twice) = convert(&once, format, &plain()) {
                    same(&TensorFile::read(&twice.bytes).unwrap());
                }
            }
            seen += 1;
        }
    }
    assert!(seen > 50 && refused == 1, "{seen}, {refused}");
}

/// A header's length may begin like the signature of a zip archive, and like a
/// pickle.
#[test]
fn a_safetensors_file_is_told_by_more_than_two_bytes() {
    for (length, start) in [
        (0x4b50, b"PK"),
        (0x4b50 + (3 << 16), b"PK"),
        (0x280, b"\x80\x02"),
    ] {
        let header = r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let header = header.to_owned() + &" ".repeat(length - header.len());
        let length = (header.len() as u64).to_le_bytes();
        let bytes = [&length, header.as_bytes(), &1.5_f32.to_le_bytes()].concat();
        assert!(bytes.starts_with(start) && !TensorFile::is_torch(&bytes));
        let file = TensorFile::read(&bytes).unwrap();
        assert_eq!(file.get::<f32>("w").unwrap().unwrap()[[0]], 1.5);
    }
}

/// What `torch.load(weights_only=True)` took, byte for byte.
#[test]
fn the_bytes_of_a_pytorch_file() {
    let w = array![[1.0_f32, 2.0]].into_dyn();
    let bytes = write_tensors([("w".to_owned(), w.view())], None).unwrap();
    let file = TensorFile::read(&bytes).unwrap();
    let got = convert(&file, Format::Torch, &plain()).unwrap().bytes;
    let pickle =
        b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((\
        X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuJ\x02\0\0\0tQJ\0\0\0\0\
        (J\x01\0\0\0J\x02\0\0\0t(J\x02\0\0\0J\x01\0\0\0t\x89ccollections\nOrderedDict\n)RtRu.";
    let at = |part: &[u8]| got.windows(part.len()).position(|w| w == part);
    let start = at(pickle).unwrap();
    assert_eq!(start, 64);
    let numbers = at(&[0, 0, 128, 63, 0, 0, 0, 64]).unwrap();
    assert_eq!(numbers % 64, 0);
    for name in [
        "archive/data.pkl",
        "archive/byteorder",
        "archive/data/0",
        "archive/version",
    ] {
        let found = got
            .windows(name.len())
            .filter(|w| *w == name.as_bytes())
            .count();
        assert_eq!(found, 2, "{name}");
    }
    assert_eq!(at(b"little").map(|at| at % 64), Some(0));
    // The end: four entries, and where the directory is.
    let end = &got[got.len() - 22..];
    assert_eq!(end[..12], *b"PK\x05\x06\0\0\0\0\x04\0\x04\0");
    let directory = u32::from_le_bytes(end[16..20].try_into().unwrap()) as usize;
    assert_eq!(got[directory..directory + 4], *b"PK\x01\x02");
}

#[test]
fn precision_narrows_and_widens() {
    let values = array![1.0_f64, -0.1, 1e-9, 65504.0, f64::NAN, f64::INFINITY, -0.0].into_dyn();
    let bytes = write_tensors([("a.w".to_owned(), values.view())], None).unwrap();
    let file = TensorFile::read(&bytes).unwrap();
    for (precision, stored, bar) in [
        (Precision::F64, "F64", 0.0),
        (Precision::F32, "F32", 2_f64.powi(-24)),
        (Precision::F16, "F16", 2_f64.powi(-11)),
        (Precision::Bf16, "BF16", 2_f64.powi(-8)),
    ] {
        let options = ConvertOptions {
            precision: Some(precision),
            prefix_strip: "a.".into(),
            prefix_add: "b.c.".into(),
        };
        for format in FORMATS {
            let bytes = convert(&file, format, &options).unwrap().bytes;
            let narrow = TensorFile::read(&bytes).unwrap();
            let compared = &compare(&file, &narrow, &options).unwrap()[0];
            assert_eq!((&*compared.renamed, &*compared.to), ("b.c.w", stored));
            assert_eq!(compared.bit_for_bit, precision == Precision::F64);
            // The NaN and the infinity are there, too.
            assert!(compared.largest_relative <= bar, "{compared:?}");
            let got = narrow.get_f64("b.c.w").unwrap().unwrap();
            assert!((got[1] + 0.1).abs() <= 0.1 * bar && got[4].is_nan());
            assert!(got[5] == f64::INFINITY && got[6].is_sign_negative());
            // Back again nothing more is lost.
            let wide = ConvertOptions {
                precision: Some(Precision::F64),
                ..plain()
            };
            let bytes = convert(&narrow, format, &wide).unwrap().bytes;
            let back = TensorFile::read(&bytes).unwrap();
            let compared = &compare(&narrow, &back, &wide).unwrap()[0];
            assert_eq!(compared.largest_absolute, 0.0);
        }
    }
}

#[test]
fn what_cannot_be_converted_is_named() {
    let one = |name: &str, x: f64| {
        let values = ArrayD::from_elem(&[1][..], x);
        write_tensors([(name.to_owned(), values.view())], None).unwrap()
    };
    let narrow = |precision| ConvertOptions {
        precision: Some(precision),
        ..plain()
    };
    let strip = |prefix: &str| ConvertOptions {
        prefix_strip: prefix.into(),
        ..plain()
    };
    // Names that only a PyTorch file can have.
    let torch_of = |name: &str| {
        let bytes = one("", 1.0);
        let file = TensorFile::read(&bytes).unwrap();
        let options = ConvertOptions {
            prefix_add: name.into(),
            ..plain()
        };
        convert(&file, Format::Torch, &options).unwrap().bytes
    };
    let view = |dtype, bytes| TensorView::new(dtype, vec![1], bytes).unwrap();
    let short = safetensors::serialize([("w", view(Dtype::U32, &[0; 4]))], None).unwrap();
    let config = sequence();
    let params = vec![config.build().unwrap().init(0)];
    let own = Model::<f64>::new(config, params, serde_json::Value::Null).unwrap();
    let own = own.to_bytes().unwrap();
    for (bytes, format, options, words) in [
        (
            one("w", 1e300),
            Format::Safetensors,
            narrow(Precision::F32),
            "w: 1e300 is beyond the largest F32 number",
        ),
        (
            one("w", 65520.0),
            Format::Torch,
            narrow(Precision::F16),
            "beyond the largest F16",
        ),
        (
            one("w", 1.0),
            Format::Torch,
            strip("model."),
            "does not begin with `model.`",
        ),
        (
            one("w", 1.0),
            Format::Torch,
            strip("w"),
            "nothing is left of the name without `w`",
        ),
        (
            torch_of("__metadata__"),
            Format::Safetensors,
            plain(),
            "__metadata__: a safetensors file keeps this name",
        ),
        (
            torch_of(&"w".repeat(1 << 20)),
            Format::Safetensors,
            plain(),
            "is not read; write fewer tensors",
        ),
        (
            short,
            Format::Torch,
            plain(),
            "w: a PyTorch file is not written with U32",
        ),
        (
            safetensors::serialize::<&str, TensorView<'_>, _>([], None).unwrap(),
            Format::Torch,
            plain(),
            "no tensors",
        ),
        (own, Format::Safetensors, strip("rnn"), "by their names"),
    ] {
        let file = TensorFile::read(&bytes).unwrap();
        let e = convert(&file, format, &options).unwrap_err().to_string();
        assert!(e.contains(words), "{e}");
    }
}

#[test]
fn a_difference_is_found() {
    let file = |x: f32, name: &str, sides: &[usize]| {
        let mut values = ArrayD::<f32>::ones(sides);
        if let Some(last) = values.last_mut() {
            *last = x;
        }
        write_tensors([(name.to_owned(), values.view())], None).unwrap()
    };
    let (a, b) = (file(1.0, "w", &[2, 2]), file(1.25, "w", &[2, 2]));
    let (a, b) = (TensorFile::read(&a).unwrap(), TensorFile::read(&b).unwrap());
    let found = &compare(&a, &b, &plain()).unwrap()[0];
    assert!(!found.bit_for_bit);
    assert_eq!(
        (found.largest_absolute, found.largest_relative),
        (0.25, 0.25)
    );
    // A NaN is a difference where it is on one side only.
    let nan = file(f32::NAN, "w", &[2, 2]);
    let infinite = file(f32::INFINITY, "w", &[2, 2]);
    let (nan, infinite) = (
        TensorFile::read(&nan).unwrap(),
        TensorFile::read(&infinite).unwrap(),
    );
    let files = [&nan, &infinite, &a];
    for (i, x) in files.iter().enumerate() {
        for (j, y) in files.iter().enumerate() {
            let found = &compare(x, y, &plain()).unwrap()[0];
            let expected = if i == j { 0.0 } else { f64::INFINITY };
            let got = (found.largest_absolute, found.largest_relative);
            assert_eq!(got, (expected, expected), "{i} {j}");
        }
    }
    for other in [file(1.0, "v", &[2, 2]), file(1.0, "w", &[4])] {
        let other = TensorFile::read(&other).unwrap();
        assert!(compare(&a, &other, &plain()).unwrap_err().is_file());
    }
}

fn sequence() -> NetworkConfig {
    NetworkConfig::Sequence(SequenceConfig {
        recurrent: RecurrentConfig::new(CellKind::Lstm, 2, 3),
        readout: Readout::LastSteps(2),
        outputs: 2,
        head_dropout: 0.0,
        skip: Some(Skip {
            inputs: 2,
            dropout: 0.0,
        }),
    })
}

/// Every kind of network is run from both files, and a change of any parameter
/// that it reads shows.
#[test]
fn models_are_run_from_both_files() {
    let recurrent = RecurrentConfig::new(CellKind::Gru, 2, 3);
    let configs = [
        sequence(),
        NetworkConfig::EncoderDecoder(EncoderDecoderConfig {
            recurrent: recurrent.clone(),
            known: 1,
            outputs: 2,
            steps: 4,
        }),
        NetworkConfig::OneToMany(OneToManyConfig {
            recurrent,
            inputs: 1,
            steps: 3,
        }),
    ];
    for config in configs {
        let network = config.build().unwrap();
        let members: Vec<_> = (0..2).map(|seed| network.init(seed)).collect();
        let model =
            Model::<f32>::new(config, members.clone(), serde_json::json!({"a": 1})).unwrap();
        let bytes = model.to_bytes().unwrap();
        let file = TensorFile::read(&bytes).unwrap();
        let rename = |name: &str| Ok(name.to_owned());
        for format in FORMATS {
            let converted = convert(&file, format, &plain()).unwrap();
            assert_eq!(converted.notes.len(), usize::from(format == Format::Torch));
            if format == Format::Safetensors {
                assert!(converted.bytes == bytes);
            }
            let other = TensorFile::read(&converted.bytes).unwrap();
            let probed = probe(&file, &other, rename, &RunOptions::default())
                .unwrap()
                .unwrap();
            assert!(probed.largest == 0.0 && probed.numbers > 20, "{probed:?}");
        }
        let mut changed = members;
        changed[1].values_mut()[0] += 0.5;
        let other = Model::new(model.config().clone(), changed, serde_json::Value::Null).unwrap();
        let other = other.to_bytes().unwrap();
        let other = TensorFile::read(&other).unwrap();
        let probed = probe(&file, &other, rename, &RunOptions::default())
            .unwrap()
            .unwrap();
        assert!(probed.largest > 0.0, "{probed:?}");
    }
    let plain = write_tensors(
        [("w".to_owned(), ArrayD::<f32>::ones(&[1][..]).view())],
        None,
    )
    .unwrap();
    let file = TensorFile::read(&plain).unwrap();
    let probed = probe(&file, &file, |n| Ok(n.to_owned()), &RunOptions::default()).unwrap();
    assert_eq!(probed, None);
}

/// The bytes of a model file with another text in its header.
fn edited(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header = std::str::from_utf8(header).unwrap();
    assert!(header.contains(from), "{header}");
    let header = header.replace(from, to);
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), data].concat()
}

fn model(config: &NetworkConfig, members: u64) -> Vec<u8> {
    let network = config.build().unwrap();
    let members = (0..members).map(|seed| network.init(seed)).collect();
    let model = Model::<f32>::new(config.clone(), members, serde_json::Value::Null).unwrap();
    model.to_bytes().unwrap()
}

/// A file of a few kilobytes asks for terabytes: refused before any of them.
#[test]
fn a_network_larger_than_its_file_is_not_run() {
    let mut layers = vec![
        ("weight_ih_l0".to_owned(), vec![4 << 12, 1]),
        ("weight_hh_l0".to_owned(), vec![4 << 12, 1 << 12]),
    ];
    let of_layer = |l| ["ih", "hh"].map(|part| (format!("weight_{part}_l{l}"), vec![0]));
    layers.extend((1..1024).flat_map(of_layer));
    // One byte wide: 1023 such layers would take a thousand times the file.
    let data = vec![0; (4 << 12) * (1 << 12)];
    let views = layers.iter().map(|(name, shape)| {
        let bytes = &data[..shape.iter().product()];
        (
            name,
            TensorView::new(Dtype::U8, shape.clone(), bytes).unwrap(),
        )
    });
    let deep = safetensors::serialize(views, None).unwrap();
    let own = model(&sequence(), 1);
    let one_to_many = NetworkConfig::OneToMany(OneToManyConfig {
        recurrent: RecurrentConfig::new(CellKind::Lstm, 2, 33),
        inputs: 1,
        steps: 1 << 20,
    });
    let wide = |members| edited(&own, "members\\\":1", members);
    for (bytes, words) in [
        (deep, "weight_ih_l1: expected shape [16384, 4096], got [0]"),
        (
            edited(&own, "hidden_size\\\":3", "hidden_size\\\":1048576"),
            "expected shape [4194304, 2], got [12, 2]",
        ),
        (wide("members\\\":0"), "0 members"),
        (wide("members\\\":99999999999"), "larger than its file"),
        (
            edited(&own, "inputs\\\":2", "inputs\\\":1048576"),
            "skip.weight: expected shape [4, 1048576]",
        ),
        (model(&one_to_many, 1), "more than a comparison runs"),
    ] {
        let file = TensorFile::read(&bytes).unwrap();
        let rename = |name: &str| Ok(name.to_owned());
        let e = probe(&file, &file, rename, &RunOptions::default()).unwrap_err();
        assert!(e.to_string().contains(words), "{words}: {e}");
    }
}

#[test]
fn a_parameter_missing_in_the_second_file_is_named() {
    let own = model(&sequence(), 1);
    let file = TensorFile::read(&own).unwrap();
    let rename = |name: &str| Ok(name.replace("rnn", "lstm"));
    let e = probe(&file, &file, rename, &RunOptions::default()).unwrap_err();
    assert!(
        e.to_string()
            .contains("lstm.weight_ih_l0: the tensor is missing"),
        "{e}"
    );
}

/// The layers of a model file are those of its configuration, and have all of
/// its parameters.
#[test]
fn a_model_file_tells_its_layers() {
    let mut recurrent = RecurrentConfig::new(CellKind::Lstm, 2, 3);
    recurrent.options.coupled = true;
    recurrent.hidden_sizes = vec![3, 5];
    recurrent.stack.num_layers = 2;
    let mut reversed = recurrent.clone();
    reversed.stack.reverse = true;
    let lstm = |input: usize, h: usize| 3 * h * (input + h);
    let stacked = |input| lstm(input, 3) + lstm(3, 5);
    let chained = |prefix: &str, layer| NamedLayer {
        prefix: prefix.to_owned(),
        layer,
    };
    for (config, expected) in [
        (
            NetworkConfig::Sequence(SequenceConfig {
                recurrent: reversed.clone(),
                readout: Readout::LastSteps(2),
                outputs: 2,
                head_dropout: 0.0,
                skip: Some(Skip {
                    inputs: 7,
                    dropout: 0.0,
                }),
            }),
            vec![("rnn", stacked(2)), ("head", 10), ("skip", 28)],
        ),
        (
            NetworkConfig::EncoderDecoder(EncoderDecoderConfig {
                recurrent: reversed,
                known: 3,
                outputs: 1,
                steps: 4,
            }),
            vec![
                ("encoder", stacked(2)),
                ("decoder", stacked(4)),
                ("head", 5),
            ],
        ),
        (
            NetworkConfig::OneToMany(OneToManyConfig {
                recurrent: recurrent.clone(),
                inputs: 3,
                steps: 3,
            }),
            vec![("start", 24), ("decoder", stacked(2)), ("head", 10)],
        ),
        (
            NetworkConfig::Chain(ChainConfig {
                layers: vec![
                    chained("", ChainLayer::Recurrent(recurrent)),
                    chained("", ChainLayer::Dropout(0.5)),
                    chained(
                        "norm",
                        ChainLayer::LayerNorm {
                            features: 5,
                            eps: 1e-5,
                            bias: true,
                        },
                    ),
                ],
            }),
            vec![("", stacked(2)), ("norm", 0)],
        ),
    ] {
        for members in [1, 2] {
            let bytes = model(&config, members);
            let header = Header::parse(&bytes, bytes.len() as u64).unwrap();
            let layers = model_layers(&header).unwrap();
            let got: Vec<_> = layers
                .iter()
                .map(|f| (&*f.prefix, f.multiply_adds))
                .collect();
            let named = |member| {
                expected.iter().map(move |(prefix, cost)| {
                    let dot = if prefix.is_empty() { "" } else { "." };
                    let prefix = match members {
                        1 => (*prefix).to_owned(),
                        _ => format!("{member}{dot}{prefix}"),
                    };
                    (prefix, *cost)
                })
            };
            let expected: Vec<_> = (0..members).flat_map(named).collect();
            let expected: Vec<_> = expected.iter().map(|(p, cost)| (&**p, *cost)).collect();
            assert_eq!(got, expected);
            let numbers: usize = header
                .tensors()
                .map(|(.., shape)| shape.iter().product::<usize>())
                .sum();
            assert_eq!(layers.iter().map(|f| f.parameters).sum::<usize>(), numbers);
        }
    }
    let own = model(&sequence(), 1);
    for (from, to) in [
        ("hidden_size\\\":3", "hidden_size\\\":4"),
        ("format\\\":1", "format\\\":2"),
        ("\"elman\"", "\"other\""),
    ] {
        let bytes = edited(&own, from, to);
        let header = Header::parse(&bytes, bytes.len() as u64).unwrap();
        assert!(model_layers(&header).unwrap_err().is_file());
    }
}

proptest! {
    /// Any names, types and shapes.
    #[test]
    fn any_tensors_survive(
        tensors in prop::collection::btree_map("[a-zé\"\\\\ .0-9]{1,12}", (0_usize..6, prop::collection::vec(0_usize..4, 0..4)), 1..6),
        fill in any::<u8>(),
    ) {
        let types = [Dtype::BOOL, Dtype::U8, Dtype::F16, Dtype::BF16, Dtype::F32, Dtype::F64];
        let data: Vec<u8> = (0..64 * 8).map(|i: u32| fill.wrapping_mul(i as u8)).collect();
        let views = tensors.iter().map(|(name, (dtype, shape))| {
            let dtype = types[*dtype];
            let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
            (name, TensorView::new(dtype, shape.clone(), &data[..bytes]).unwrap())
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        let file = TensorFile::read(&bytes).unwrap();
        for format in FORMATS {
            let converted = convert(&file, format, &plain()).unwrap().bytes;
            let back = TensorFile::read(&converted).unwrap();
            for compared in compare(&file, &back, &plain()).unwrap() {
                prop_assert!(compared.bit_for_bit, "{compared:?}");
            }
        }
    }
}

fn int8() -> ConvertOptions {
    ConvertOptions {
        precision: Some(Precision::Int8),
        ..plain()
    }
}

/// Every matrix is within half a step of its row's scale; the rest keeps its
/// bits; the same file again changes nothing; and the layers compute with the
/// whole numbers.
#[test]
fn matrices_of_eight_bits() {
    let config = NetworkConfig::Sequence(SequenceConfig {
        recurrent: RecurrentConfig::new(CellKind::Lstm, 2, 40),
        readout: Readout::LastState,
        outputs: 1,
        head_dropout: 0.0,
        skip: None,
    });
    let params = vec![config.build().unwrap().init(3)];
    let model = Model::<f32>::new(config, params, serde_json::json!({})).unwrap();
    let bytes = model.to_bytes().unwrap();
    let file = TensorFile::read(&bytes).unwrap();
    assert_eq!(file.storage(), Storage::Full);
    let small = convert(&file, Format::Safetensors, &int8()).unwrap().bytes;
    assert!(small.len() * 2 < bytes.len());
    let header = Header::parse(&small, small.len() as u64).unwrap();
    assert_eq!(header.tensors().len(), file.names().len());

    let read = TensorFile::read(&small).unwrap();
    assert_eq!(read.storage(), Storage::Int8);
    for name in file.names() {
        let (before, after) = (
            file.get_f64(name).unwrap().unwrap(),
            read.get_f64(name).unwrap().unwrap(),
        );
        let exact = read.get::<f32>(name).unwrap().unwrap().mapv(f64::from);
        assert!((&exact - &after).iter().all(|d| d.abs() < 1e-7));
        if before.ndim() < 2 {
            assert_eq!(before, after);
            continue;
        }
        for (before, after) in before.outer_iter().zip(after.outer_iter()) {
            let most = before.fold(0.0_f64, |most, x| most.max(x.abs()));
            let off = (&before - &after).fold(0.0_f64, |most, x| most.max(x.abs()));
            assert!(off <= most / 127.0 * 0.501, "{name}: {off} of {most}");
        }
    }
    let again = convert(&read, Format::Safetensors, &int8()).unwrap().bytes;
    assert_eq!(again, small);
    assert_eq!(
        convert(&read, Format::Safetensors, &plain()).unwrap().bytes,
        small
    );

    let opened = Model::<f32>::from_bytes(&small).unwrap();
    assert_eq!(opened.members()[0].storage(), Storage::Int8);
    let options = RunOptions::default();
    let found = probe(&file, &read, |name| Ok(name.to_owned()), &options);
    let found = found.unwrap().unwrap();
    assert!(found.largest > 0.0 && found.largest < 0.02, "{found:?}");

    // Whole numbers are numbers again.
    let wide = ConvertOptions {
        precision: Some(Precision::F32),
        ..plain()
    };
    for format in FORMATS {
        let wide = convert(&read, format, &wide).unwrap().bytes;
        let wide = TensorFile::read(&wide).unwrap();
        assert_eq!(wide.storage(), Storage::Full);
        for name in read.names() {
            let (a, b) = (read.get::<f32>(name), wide.get::<f32>(name));
            assert_eq!(a.unwrap(), b.unwrap());
        }
    }
    let e = convert(&read, Format::Torch, &plain()).unwrap_err();
    assert!(e.to_string().contains("no place for the scales"), "{e}");
}

#[test]
fn what_eight_bits_do_not_hold_is_refused() {
    for (bad, part) in [
        (f64::NAN, "NaN is no number"),
        (1e300, "beyond the largest"),
    ] {
        let w = array![[1.0, bad]].into_dyn();
        let bytes = write_tensors([("w".to_owned(), w.view())], None).unwrap();
        let file = TensorFile::read(&bytes).unwrap();
        let e = convert(&file, Format::Safetensors, &int8()).unwrap_err();
        assert!(e.to_string().starts_with("w: "), "{e}");
        assert!(e.to_string().contains(part), "{e}");
    }
    // Scales are those of as many rows as there are; others are a tensor of
    // their own, and whole numbers alone are none that a network computes with.
    let whole = TensorView::new(Dtype::I8, vec![2, 2], &[1, 2, 3, 4]).unwrap();
    for (dtype, shape) in [
        (Dtype::F32, vec![3]),
        (Dtype::F32, vec![2, 1]),
        (Dtype::F16, vec![2]),
    ] {
        let data = vec![0; shape.iter().product::<usize>() * dtype.bitsize() / 8];
        let scales = TensorView::new(dtype, shape, &data).unwrap();
        let bytes = safetensors::serialize([("w", &whole), ("w_scale", &scales)], None).unwrap();
        let file = TensorFile::read(&bytes).unwrap();
        assert_eq!(file.names().len(), 2);
        let e = file.get::<f32>("w").unwrap_err();
        assert!(e.to_string().contains("got I8"), "{e}");
    }
}
