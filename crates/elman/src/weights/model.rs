//! The model file.

use super::Header;
use super::infer::{FoundLayer, Shapes, dotted, sizes_of, split};
use super::tensors::{TensorFile, write_tensors};
use crate::layer::RecurrentConfig;
use crate::network::{AnyNetwork, ChainLayer, Network, NetworkConfig};
use crate::params::{Layout, Params};
use crate::{Error, Float, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The metadata key of elman's own files.
pub const METADATA_KEY: &str = "elman";

const NOT_OURS: &str = "not a model file of elman: the metadata key `elman` is missing";

/// The version of the metadata that this crate writes.
const FORMAT: u32 = 1;

/// Networks of one kind with their parameters, and the application's own part.
///
/// ```
/// use elman::cell::CellKind;
/// use elman::layer::RecurrentConfig;
/// use elman::network::{Network, NetworkConfig, Readout, SequenceConfig};
/// use elman::weights::Model;
///
/// let config = NetworkConfig::Sequence(SequenceConfig {
///     recurrent: RecurrentConfig::new(CellKind::Gru, 1, 8),
///     readout: Readout::LastState,
///     outputs: 1,
///     head_dropout: 0.0,
///     skip: None,
/// });
/// let params = vec![config.build()?.init(0)];
/// let model = Model::<f32>::new(config, params, serde_json::json!({"unit": "kWh"}))?;
/// let back = Model::<f32>::from_bytes(&model.to_bytes()?)?;
/// assert_eq!(back.app()["unit"], "kWh");
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Model<F> {
    config: NetworkConfig,
    network: AnyNetwork,
    members: Vec<Params<F>>,
    app: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    format: u32,
    network: NetworkConfig,
    members: usize,
    app: Value,
}

impl Metadata {
    fn read(file: &TensorFile<'_>) -> Result<Self> {
        let Some(metadata) = file.metadata(METADATA_KEY) else {
            return Err(Error::file(NOT_OURS));
        };
        Self::parse(metadata, file.names().len())
    }

    /// Of a file with so many tensors.
    fn parse(metadata: &str, tensors: usize) -> Result<Self> {
        let metadata: Self = serde_json::from_str(metadata)
            .map_err(|e| Error::file(format!("metadata `elman`: {e}")))?;
        if metadata.format != FORMAT {
            return Err(Error::file(format!(
                "format {}: this version of elman reads format {FORMAT}; use the version that wrote the file",
                metadata.format
            )));
        }
        // Before anything is computed from them.
        let layers = metadata.network.num_layers();
        let sizes = serde_json::to_value(&metadata.network);
        if layers.max(metadata.members) > tensors || sizes.is_ok_and(|sizes| too_large(&sizes)) {
            return Err(Error::file(
                "metadata `elman`: the network is larger than its file",
            ));
        }
        if metadata.members == 0 {
            return Err(Error::file(
                "metadata `elman`: expected a network, got 0 members",
            ));
        }
        Ok(metadata)
    }
}

/// The network of a model file and how many sets of parameters it has.
pub(crate) fn network_of(file: &TensorFile<'_>) -> Result<(NetworkConfig, usize)> {
    let metadata = Metadata::read(file)?;
    Ok((metadata.network, metadata.members))
}

impl Header {
    /// The network of a model file of this crate; `None` of any other file.
    pub fn network(&self) -> Option<NetworkConfig> {
        let metadata = self.metadata().get(METADATA_KEY)?;
        let metadata = Metadata::parse(metadata, self.tensors().len());
        Some(metadata.ok()?.network)
    }
}

/// The layers of the networks in a model file, as its metadata has them, in
/// the order of each network; names and shapes of tensors alone do not tell
/// all of their options.
///
/// # Errors
/// Where it is not a model file, its metadata is damaged or of another version,
/// or its tensors are not those of its networks.
pub fn model_layers(header: &Header) -> Result<Vec<FoundLayer>> {
    let names = header.names();
    let metadata = header.metadata().get(METADATA_KEY);
    let metadata = metadata.ok_or_else(|| Error::file(NOT_OURS))?;
    let metadata = Metadata::parse(metadata, names.len())?;
    let network = metadata.network.build()?;
    let layout = Network::<f32>::layout(&network);
    check_shapes(header, layout, metadata.members, |name| Ok(name.to_owned()))?;
    let mut layers = Vec::new();
    for member in 0..metadata.members {
        for mut layer in network_layers(&metadata.network)? {
            // As the member's parameters are named.
            let name = format!("{}weight", dotted(&layer.prefix));
            let name = member_name(member, metadata.members, &name);
            layer.prefix = split(&name).0.to_owned();
            layers.push(layer);
        }
    }
    Ok(layers)
}

/// The layers of a network that have parameters, in order.
///
/// ```
/// use elman::cell::CellKind;
/// use elman::layer::RecurrentConfig;
/// use elman::network::{NetworkConfig, OneToManyConfig};
/// use elman::weights::network_layers;
///
/// let config = NetworkConfig::OneToMany(OneToManyConfig {
///     recurrent: RecurrentConfig::new(CellKind::Gru, 1, 8),
///     inputs: 2,
///     steps: 4,
/// });
/// let layers = network_layers(&config)?;
/// let prefixes: Vec<_> = layers.iter().map(|l| &*l.prefix).collect();
/// assert_eq!(prefixes, ["start", "decoder", "head"]);
/// assert_eq!(layers[1].multiply_adds, 3 * 8 * (1 + 8));
/// # Ok::<(), elman::Error>(())
/// ```
///
/// # Errors
/// Where an option is out of its range.
pub fn network_layers(config: &NetworkConfig) -> Result<Vec<FoundLayer>> {
    let network = config.build()?;
    let layout = Network::<f32>::layout(&network);
    let found = |prefix: &str, layer: ChainLayer| {
        let (parameters, multiply_adds) = sizes_of(&layer);
        FoundLayer {
            prefix: prefix.to_owned(),
            layer,
            parameters,
            multiply_adds,
        }
    };
    let recurrent =
        |prefix, config: &RecurrentConfig| found(prefix, ChainLayer::Recurrent(config.clone()));
    // Where the network has it.
    let linear = |prefix: &str| {
        let weight = layout.find(&format!("{prefix}.weight"))?;
        let [out_features, in_features] = weight.shape[..] else {
            return None;
        };
        let layer = ChainLayer::Linear {
            in_features,
            out_features,
            bias: true,
        };
        Some(found(prefix, layer))
    };
    let layers = match config {
        NetworkConfig::Sequence(c) => vec![
            Some(recurrent("rnn", &c.recurrent)),
            linear("head"),
            linear("skip"),
        ],
        NetworkConfig::EncoderDecoder(c) => vec![
            Some(recurrent("encoder", &c.recurrent)),
            Some(recurrent("decoder", &c.decoder())),
            linear("head"),
        ],
        NetworkConfig::OneToMany(c) => vec![
            linear("start"),
            Some(recurrent("decoder", &c.recurrent)),
            linear("head"),
        ],
        NetworkConfig::Chain(c) => {
            let layers = c.layers.iter();
            let layers = layers.map(|named| found(&named.prefix, named.layer.clone()));
            layers
                .map(|f| Some(f).filter(|f| f.parameters > 0))
                .collect()
        }
    };
    Ok(layers.into_iter().flatten().collect())
}

/// True where the bytes begin as a safetensors file with elman's metadata:
/// enough to know whose file it is, also where it is damaged.
pub fn is_model(bytes: &[u8]) -> bool {
    let Some((len, rest)) = bytes.split_first_chunk::<8>() else {
        return false;
    };
    let len = usize::try_from(u64::from_le_bytes(*len)).unwrap_or(usize::MAX);
    let header = &rest[..len.min(rest.len())];
    let key = format!("{{\"__metadata__\":{{\"{METADATA_KEY}\":");
    header.starts_with(key.as_bytes())
}

impl<F: Float> Model<F> {
    /// Networks with these parameters, at least one.
    ///
    /// # Errors
    /// Where there are none, or their layout is another network's.
    pub fn new(config: NetworkConfig, members: Vec<Params<F>>, app: Value) -> Result<Self> {
        let network = config.build()?;
        let layout = Network::<F>::layout(&network);
        if members.is_empty() || members.iter().any(|m| m.layout() != layout) {
            return Err(Error::shape(
                "a model needs parameters of its own network, at least one set",
            ));
        }
        Ok(Self {
            config,
            network,
            members,
            app,
        })
    }

    /// The configuration of the network.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// The network.
    pub fn network(&self) -> &AnyNetwork {
        &self.network
    }

    /// The parameters of every member.
    pub fn members(&self) -> &[Params<F>] {
        &self.members
    }

    /// What the application put beside the network.
    pub fn app(&self) -> &Value {
        &self.app
    }

    /// The bytes of the model file; the same model gives the same bytes.
    ///
    /// # Errors
    /// Where the metadata cannot be written as JSON, or takes with the names of
    /// the tensors more than the 1 MiB that is read.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let metadata = Metadata {
            format: FORMAT,
            network: self.config.clone(),
            members: self.members.len(),
            app: self.app.clone(),
        };
        // Through a value, whose objects are sorted by key.
        let metadata = serde_json::to_value(metadata).map_err(|e| Error::file(e.to_string()))?;
        let mut tensors = Vec::new();
        for (i, member) in self.members.iter().enumerate() {
            for entry in member.layout().entries() {
                if let Some(values) = member.get(&entry.name) {
                    tensors.push((member_name(i, self.members.len(), &entry.name), values));
                }
            }
        }
        write_tensors(tensors, Some((METADATA_KEY, metadata.to_string())))
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// Where it is not one, is damaged, or a tensor is missing, extra or
    /// misshapen.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::from_tensors(&TensorFile::read(bytes)?.widened())
    }

    /// Reads a model file whose header was read before.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn from_tensors(file: &TensorFile<'_>) -> Result<Self> {
        let metadata = Metadata::read(file)?;
        let network = metadata
            .network
            .build()
            .map_err(|e| Error::file(format!("metadata `elman`: {e}")))?;
        let layout = Network::<F>::layout(&network);
        let expected = layout.entries().len().saturating_mul(metadata.members);
        if file.names().len() != expected {
            return Err(Error::file(format!(
                "expected {expected} tensors, those of {} network(s) of this kind, got {}",
                metadata.members,
                file.names().len()
            )));
        }
        let named = |i, name: &str| member_name(i, metadata.members, name);
        let entries =
            || (0..metadata.members).flat_map(|i| layout.entries().iter().map(move |e| (i, e)));
        // Before memory is taken for the parameters.
        check_shapes(file, layout, metadata.members, |name| Ok(name.to_owned()))?;
        let mut params = Params::zeros(layout.clone());
        params.set_storage(file.storage());
        let mut members = vec![params; metadata.members];
        for (i, entry) in entries() {
            if let Some(values) = file.get::<F>(&named(i, &entry.name))? {
                let values: Vec<F> = values.into_iter().collect();
                members[i].set(&entry.name, &values)?;
            }
        }
        Self::new(metadata.network, members, metadata.app)
    }
}

/// That every parameter of so many networks is in the file, under its new name
/// and with its shape.
pub(crate) fn check_shapes(
    file: &dyn Shapes,
    layout: &Layout,
    members: usize,
    rename: impl Fn(&str) -> Result<String>,
) -> Result<()> {
    for i in 0..members {
        for entry in layout.entries() {
            let name = rename(&member_name(i, members, &entry.name))?;
            match file.shape(&name) {
                Some(shape) if shape == entry.shape => {}
                Some(shape) => {
                    return Err(Error::file(format!(
                        "{name}: expected shape {:?}, got {shape:?}",
                        entry.shape
                    )));
                }
                None => return Err(Error::file(format!("{name}: the tensor is missing"))),
            }
        }
    }
    Ok(())
}

/// True where a size is beyond all that a file holds; a product of three
/// smaller ones fits a number.
fn too_large(sizes: &Value) -> bool {
    const LARGEST: u64 = 1 << 20;
    match sizes {
        Value::Number(size) => size.as_u64().is_some_and(|size| size > LARGEST),
        Value::Array(parts) => parts.iter().any(too_large),
        Value::Object(parts) => parts.values().any(too_large),
        _ => false,
    }
}

/// The name of a parameter in the file.
pub(crate) fn member_name(i: usize, members: usize, name: &str) -> String {
    if members == 1 {
        name.to_owned()
    } else {
        format!("{i}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::CellKind;
    use crate::network::{Readout, SequenceConfig};

    fn model(members: u64) -> Model<f32> {
        let config = NetworkConfig::Sequence(SequenceConfig {
            recurrent: RecurrentConfig::new(CellKind::Lstm, 2, 3),
            readout: Readout::LastSteps(2),
            outputs: 1,
            head_dropout: 0.25,
            skip: None,
        });
        let network = config.build().unwrap();
        let params = (0..members).map(|seed| network.init(seed)).collect();
        Model::new(
            config,
            params,
            serde_json::json!({"z": 1, "a": [0.1, null]}),
        )
        .unwrap()
    }

    #[test]
    fn a_model_comes_back_as_it_was() {
        for members in [1, 3] {
            let model = model(members);
            let bytes = model.to_bytes().unwrap();
            assert!(is_model(&bytes) && !is_model(&bytes[8..]));
            let back = Model::<f32>::from_bytes(&bytes).unwrap();
            assert_eq!(back.config(), model.config());
            assert_eq!(back.app(), model.app());
            for (a, b) in back.members().iter().zip(model.members()) {
                assert_eq!(a.values(), b.values());
            }
            assert_eq!(back.to_bytes().unwrap(), bytes);
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let bytes = model(1).to_bytes().unwrap();
        for end in 0..bytes.len() {
            assert!(Model::<f32>::from_bytes(&bytes[..end]).is_err());
        }
        let e = Model::<f64>::from_bytes(&bytes).unwrap_err();
        assert!(e.to_string().contains("F64"), "{e}");

        let key = b"\\\"hidden_size\\\":";
        let at = bytes.windows(key.len()).position(|w| w == key).unwrap();
        let mut other = bytes.clone();
        other[at + key.len()] = b'4';
        let e = Model::<f32>::from_bytes(&other).unwrap_err();
        assert!(e.to_string().contains("expected shape"), "{e}");

        let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
        let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let header = std::str::from_utf8(header).unwrap();
        for (size, huge) in [
            ("hidden_size\\\":3", "hidden_size\\\":18446744073709551615"),
            ("num_layers\\\":1", "num_layers\\\":1000000000"),
            ("last_steps\\\":2", "last_steps\\\":18446744073709551615"),
        ] {
            assert!(header.contains(size), "{header}");
            let header = header.replace(size, huge);
            let length = (header.len() as u64).to_le_bytes();
            let bytes = [&length, header.as_bytes(), data].concat();
            let e = Model::<f32>::from_bytes(&bytes).unwrap_err();
            assert!(e.to_string().contains("larger than its file"), "{e}");
        }
    }
}
