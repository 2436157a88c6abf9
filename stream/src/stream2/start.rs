//! The start message: the detector and its settings.

use super::record::record;
use super::{Axis, Channels, DateTime, Item, MultiDimArray, TypedArray};

record! {
    /// Sent once when a series is armed. Fields are documented as Dectris documents them; lengths are in metres and
    /// times in seconds where nothing else is said.
    Start {
        /// The number of the series.
        series_id: u64,
        /// The unique id of the series.
        series_unique_id: String,
        /// When the series was armed.
        arm_date: DateTime,
        /// Where the direct beam would hit the detector, in pixels along x.
        beam_center_x: f64,
        /// Where the direct beam would hit the detector, in pixels along y.
        beam_center_y: f64,
        /// The names of the active channels, in the order in which images have them.
        channels: Vec<String>,
        /// The exposure time of an image.
        count_time: f64,
        /// Whether the count rate is corrected.
        countrate_correction_enabled: bool,
        /// The table by which it is corrected.
        countrate_correction_lookup_table: TypedArray,
        /// Model and type of the detector.
        detector_description: String,
        /// The serial number of the detector.
        detector_serial_number: String,
        /// The translation of the detector, three numbers.
        detector_translation: Vec<f64>,
        /// The flat field of each channel.
        flatfield: Channels<MultiDimArray>,
        /// Whether images are corrected by the flat field.
        flatfield_enabled: bool,
        /// The time from the start of an image to that of the next one.
        frame_time: f64,
        /// The axes of the goniometer by their names: chi, kappa, omega, phi, two_theta, or any other.
        goniometer: Channels<Axis>,
        /// The type of a pixel: `uint8`, `uint16` or `uint32`.
        image_dtype: String,
        /// The width of an image, in pixels.
        image_size_x: u64,
        /// The height of an image, in pixels.
        image_size_y: u64,
        /// Images per trigger; in early versions of the format only.
        images_per_trigger: u64,
        /// The energy of the incident particles, in eV.
        incident_energy: f64,
        /// Their wavelength, in ångström.
        incident_wavelength: f64,
        /// How many images the series has.
        number_of_images: u64,
        /// How many triggers the series has; in early versions of the format only.
        number_of_triggers: u64,
        /// The mask of each channel, 32 bits per pixel.
        pixel_mask: Channels<MultiDimArray>,
        /// Whether the mask is applied to the images.
        pixel_mask_enabled: bool,
        /// The width of a pixel.
        pixel_size_x: f64,
        /// The height of a pixel.
        pixel_size_y: f64,
        /// The region of interest that is read; in early versions of the format only.
        roi_mode: String,
        /// The largest value of a pixel that is valid (the largest value of all means "no data").
        saturation_value: u64,
        /// What the sensor is made of.
        sensor_material: String,
        /// How thick the sensor is.
        sensor_thickness: f64,
        /// The threshold of each channel, in eV.
        threshold_energy: Channels<f64>,
        /// What the user has asked to be sent along (`header_appendix`).
        user_data: Item,
        /// Whether virtual pixels are interpolated.
        virtual_pixel_interpolation_enabled: bool,
    }
}
