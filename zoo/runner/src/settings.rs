//! Arguments as `name=value`, each used or refused.

use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// What was given and not asked for yet.
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// # Errors
    /// When something is no `name=value`, or is given twice.
    pub fn parse(arguments: &[String]) -> Result<Settings> {
        let mut settings = BTreeMap::new();
        for argument in arguments {
            let (name, value) = argument.split_once('=').with_context(|| format!("`{argument}` is no name=value"))?;
            if settings.insert(name.to_owned(), value.to_owned()).is_some() {
                bail!("`{name}` is given twice");
            }
        }
        Ok(Settings(settings))
    }

    /// The value of a setting that must be there.
    pub fn text(&mut self, name: &str) -> Result<String> {
        self.0.remove(name).with_context(|| format!("`{name}=` is missing"))
    }

    /// The value of a setting, or what it is if not given.
    pub fn or<T: FromStr<Err: Display>>(&mut self, name: &str, usual: T) -> Result<T> {
        match self.0.remove(name) {
            Some(text) => text.parse().map_err(|error| anyhow!("{name}={text}: {error}")),
            None => Ok(usual),
        }
    }

    /// # Errors
    /// When something was given that nobody asked for.
    pub fn finish(self) -> Result<()> {
        match self.0.into_keys().next() {
            Some(name) => bail!("`{name}=` means nothing here"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(arguments: &[&str]) -> Result<Settings> {
        Settings::parse(&arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_not_used_is_refused() {
        let mut given = settings(&["seeds=7", "first=1"]).unwrap();
        assert_eq!(given.or("seeds", 1).unwrap(), 7);
        assert_eq!(given.or("nodes", 3).unwrap(), 3);
        assert!(given.finish().unwrap_err().to_string().contains("first"));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(settings(&["seeds"]).is_err());
        assert!(settings(&["seeds=1", "seeds=2"]).is_err());
        assert!(settings(&["seeds=x"]).unwrap().or("seeds", 1).is_err());
        assert!(settings(&[]).unwrap().text("file").is_err());
    }
}
