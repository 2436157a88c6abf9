//! What a detector says of itself when a series begins, as NeXus has it: a group beside its images.

use rust_hdf5::types::{Complex64, HBool};
use rust_hdf5::{H5Group, H5Type, Hdf5Error};
use serde_json::{Map, Value};

use super::hdf5::datatype;
use crate::stream2::{Channels, Event, MultiDimArray};
use crate::{Array, Body, StreamMessage};

/// Settings of a detector, and its tables.
pub(super) struct Instrument<'a> {
    settings: &'a Map<String, Value>,
    tables: Vec<(String, Array)>,
}

impl<'a> Instrument<'a> {
    /// What `message` says; `None` when it begins no series, or says nothing. A table that cannot be read is left out.
    pub(super) fn of(message: &'a StreamMessage) -> Option<Self> {
        match &message.body {
            Body::DetectorHeader(header) => {
                let tables = header.calibration().map(|calibration| {
                    [
                        ("flatfield", &calibration.flatfield),
                        ("pixel_mask", &calibration.pixel_mask),
                        ("countrate_table", &calibration.countrate_table),
                    ]
                });
                let tables = tables.into_iter().flatten();
                Some(Instrument {
                    settings: header.config()?,
                    tables: tables
                        .filter_map(|(name, table)| Some((name.to_owned(), table.to_array().ok()?)))
                        .filter(|(_, table)| table.layout().size() > 0)
                        .collect(),
                })
            }
            Body::Stream2(stream2) => match stream2.event() {
                Event::Start(start) => Some(Instrument {
                    settings: message.header.fields(),
                    tables: [("flatfield", &start.flatfield), ("pixel_mask", &start.pixel_mask)]
                        .into_iter()
                        .flat_map(|(name, channels)| channel_tables(name, channels.as_ref()))
                        .collect(),
                }),
                _ => None,
            },
            _ => None,
        }
    }

    /// Writes `instrument/detector` into `entry`.
    pub(super) fn write(&self, entry: &H5Group) -> Result<(), Hdf5Error> {
        let instrument = entry.create_group("instrument")?;
        instrument.set_attr_string("NX_class", "NXinstrument")?;
        let detector = instrument.create_group("detector")?;
        detector.set_attr_string("NX_class", "NXdetector")?;
        for (name, array) in &self.tables {
            write_table(&detector, name, array)?;
        }
        for (name, value) in self.settings {
            let is_table = self.tables.iter().any(|(table, _)| table == name);
            if is_name(name) && !is_table {
                write_setting(&detector, name, value)?;
            }
        }
        Ok(())
    }
}

/// The table of each channel; of several, each is named after its channel.
fn channel_tables(name: &str, channels: Option<&Channels<MultiDimArray>>) -> Vec<(String, Array)> {
    let channels: Vec<_> = channels.into_iter().flat_map(Channels::iter).collect();
    let alone = channels.len() == 1;
    let table = |(channel, array): (&str, &MultiDimArray)| {
        let name = match alone {
            true => name.to_owned(),
            false => format!("{name}_{channel}"),
        };
        let array = array.to_arrays().ok()?.to_array(0).ok()??;
        (is_name(&name) && array.layout().size() > 0).then_some((name, array))
    };
    channels.into_iter().filter_map(table).collect()
}

/// Whether HDF5 can have it as the name of one thing.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name != "." && !name.contains(['/', '\0'])
}

/// As with the images, a dataset wants a Rust type of the right size.
fn write_table(group: &H5Group, name: &str, array: &Array) -> Result<(), Hdf5Error> {
    match array.layout().element().size() {
        1 => write_table_of::<u8>(group, name, array),
        2 => write_table_of::<u16>(group, name, array),
        4 => write_table_of::<u32>(group, name, array),
        8 => write_table_of::<u64>(group, name, array),
        _ => write_table_of::<Complex64>(group, name, array),
    }
}

fn write_table_of<T: H5Type>(group: &H5Group, name: &str, array: &Array) -> Result<(), Hdf5Error> {
    let layout = array.layout();
    let dataset = group
        .new_dataset::<T>()
        .shape(layout.shape())
        .datatype(datatype(layout));
    dataset.create(name)?.write_raw_bytes(array.data())
}

fn write_setting(group: &H5Group, name: &str, value: &Value) -> Result<(), Hdf5Error> {
    match value {
        Value::Null => Ok(()),
        Value::Bool(is) => group
            .new_dataset::<HBool>()
            .scalar()
            .create(name)?
            .write_raw(&[HBool::from(*is)]),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => write_number(group, name, number),
            (None, Some(number)) => write_number(group, name, number),
            (None, None) => write_number(group, name, number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => write_text(group, name, text),
        // HDF5 has no such thing; as it was sent.
        value => write_text(group, name, &value.to_string()),
    }
}

fn write_number<T: H5Type>(group: &H5Group, name: &str, number: T) -> Result<(), Hdf5Error> {
    group
        .new_dataset::<T>()
        .scalar()
        .create(name)?
        .write_raw(&[number])
}

fn write_text(group: &H5Group, name: &str, text: &str) -> Result<(), Hdf5Error> {
    group.write_vlen_strings(name, &[text]).map(drop)
}
