//! The settings of the flight recorder.

use super::settings::Settings;
use anyhow::{Result, ensure};
use quorate_service::RecordingPlan;

impl Settings {
    /// What the member called `name` is to record of its run, if anything, for `quorate replay`.
    pub(super) fn recording(&self, name: &str) -> Result<Option<RecordingPlan>> {
        let with_values = self.record_values.unwrap_or(false);
        let Some(directory) = &self.record else {
            ensure!(self.record_bytes.is_none(), "--record-bytes means nothing without --record");
            ensure!(!with_values, "--record-values means nothing without --record");
            return Ok(None);
        };
        let bytes_max = self.record_bytes.unwrap_or(RecordingPlan::DEFAULT_BYTES);
        ensure!(
            bytes_max >= RecordingPlan::BYTES_LEAST,
            "--record-bytes {bytes_max} must be at least {}",
            RecordingPlan::BYTES_LEAST
        );
        Ok(Some(RecordingPlan {
            directory: directory.clone(),
            bytes_max,
            with_values,
            name: name.to_owned(),
            program: PROGRAM.to_owned(),
        }))
    }
}

/// What recordings of this build say of it.
pub const PROGRAM: &str = concat!("quorate ", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(settings: Settings) -> Result<Option<RecordingPlan>> {
        settings.plan().map(|plan| plan.member.recording)
    }

    #[test]
    fn a_file_says_what_to_record_as_flags_do_and_flags_win() {
        let text = "name: a\nrecord: /var/flight\nrecord-bytes: 1073741824\nrecord-values: true\n";
        let file = Settings::from_yaml(text).unwrap();
        let of_file = planned(file.clone()).unwrap().expect("it is to record");
        assert_eq!((of_file.directory.to_str(), of_file.bytes_max), (Some("/var/flight"), 1 << 30));
        assert!(of_file.with_values && of_file.name == "a");
        let flags = Settings { record: Some("here".into()), record_values: Some(false), ..Settings::default() };
        let both = planned(flags.or(file)).unwrap().expect("it is to record");
        assert_eq!((both.directory.to_str(), both.bytes_max, both.with_values), (Some("here"), 1 << 30, false));
        assert_eq!(planned(Settings::default()).unwrap(), None);
    }

    #[test]
    fn how_to_record_means_nothing_where_nothing_is_recorded() {
        let refusal = |settings| planned(settings).unwrap_err().to_string();
        let bytes = Settings { record_bytes: Some(1 << 30), ..Settings::default() };
        assert_eq!(refusal(bytes), "--record-bytes means nothing without --record");
        let values = Settings { record_values: Some(true), ..Settings::default() };
        assert_eq!(refusal(values.clone()), "--record-values means nothing without --record");
        assert_eq!(planned(Settings { record_values: Some(false), ..values }).unwrap(), None);
        let few = Settings { record: Some("here".into()), record_bytes: Some(1), ..Settings::default() };
        assert!(refusal(few).starts_with("--record-bytes 1 must be at least"));
    }
}
