//! Put, get, del.

use super::session::once;
use super::{block_on, refusal};
use crate::endpoint::{ClientArguments, OutputFormat};
use anyhow::{Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, ResponseHeader, range_request,
};
use quorate_server::proto::mvccpb::KeyValue;
use serde_json::{Map, Value, json};
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

/// Arguments of `quorate put`.
#[derive(Args)]
pub struct PutArguments {
    /// The key
    key: String,
    /// The value; read from standard input if left out
    value: Option<String>,
    /// Print the pair as it was before
    #[arg(long)]
    prev_kv: bool,
    /// Ask all endpoints, again and again, until it is known to have happened, once; needs Quorate servers
    #[arg(long)]
    exactly_once: bool,
    #[command(flatten)]
    client: ClientArguments,
}

/// Arguments of `quorate get`.
#[derive(Args)]
pub struct GetArguments {
    /// The key, or the first key of a range
    key: String,
    /// The first key after the range
    range_end: Option<String>,
    #[command(flatten)]
    range: RangeArguments,
    /// At most so many pairs; 0 for all
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    limit: i64,
    /// As of this revision; 0 for now
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    rev: i64,
    /// Sort by
    #[arg(long, value_enum)]
    sort_by: Option<SortBy>,
    /// Sort direction
    #[arg(long, value_enum)]
    order: Option<Order>,
    /// Print no values
    #[arg(long)]
    keys_only: bool,
    /// Print only how many keys there are
    #[arg(long, conflicts_with = "keys_only")]
    count_only: bool,
    /// Take what the node at hand has, without asking the others: may be stale
    #[arg(long)]
    serializable: bool,
    #[command(flatten)]
    client: ClientArguments,
}

/// Arguments of `quorate del`.
#[derive(Args)]
pub struct DelArguments {
    /// The key, or the first key of a range
    key: String,
    /// The first key after the range
    range_end: Option<String>,
    #[command(flatten)]
    range: RangeArguments,
    /// Print the pairs as they were before
    #[arg(long)]
    prev_kv: bool,
    /// Ask all endpoints, again and again, until it is known to have happened, once; needs Quorate servers
    #[arg(long)]
    exactly_once: bool,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Args)]
struct RangeArguments {
    /// All keys that start with KEY
    #[arg(long, conflicts_with_all = ["range_end", "from_key"])]
    prefix: bool,
    /// All keys from KEY on
    #[arg(long, conflicts_with = "range_end")]
    from_key: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum SortBy {
    Key,
    Version,
    Create,
    Modify,
    Value,
}

#[derive(Clone, Copy, ValueEnum)]
enum Order {
    Ascend,
    Descend,
}

/// The first key after all keys with this prefix: the last byte that is not 0xff counted up, the rest cut off. An empty
/// prefix, or one of 0xff only, has no end: everything from it on.
fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// Key and range end as the API wants them.
fn range_of(key: &str, range_end: Option<&str>, range: &RangeArguments) -> (Bytes, Bytes) {
    let end = match range_end {
        Some(end) => end.as_bytes().to_vec(),
        None if range.prefix => prefix_end(key.as_bytes()),
        None if range.from_key => vec![0],
        None => Vec::new(),
    };
    let key = match key.as_bytes() {
        [] if range.prefix || range.from_key => vec![0],
        key => key.to_vec(),
    };
    (Bytes::from(key), Bytes::from(end))
}

/// `quorate put`.
pub fn put(arguments: PutArguments) -> Result<ExitCode> {
    let value = match arguments.value {
        Some(value) => value.into_bytes(),
        None if std::io::stdin().is_terminal() => bail!("the value is missing: `quorate put KEY VALUE`, or pipe it in"),
        None => {
            let mut value = Vec::new();
            std::io::stdin().read_to_end(&mut value)?;
            value
        }
    };
    block_on(async {
        let request = PutRequest {
            key: arguments.key.into(),
            value: value.into(),
            prev_kv: arguments.prev_kv,
            ..PutRequest::default()
        };
        let answer = if arguments.exactly_once {
            once(&arguments.client, async |session| session.put(request).await).await?
        } else {
            let mut client = KvClient::new(arguments.client.connect().await?).max_decoding_message_size(usize::MAX);
            client.put(request).await.map_err(|status| refusal(&status))?.into_inner()
        };
        match arguments.client.output {
            OutputFormat::Text => {
                println!("OK, revision {}", revision(answer.header.as_ref()));
                print_pairs(answer.prev_kv.as_slice(), false)?;
            }
            OutputFormat::Json => {
                print_json(json!({
                    "revision": revision(answer.header.as_ref()), "prev_kv": answer.prev_kv.as_ref().map(pair_json),
                }));
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// `quorate get`. Exit code 1, and a word on standard error, if there is nothing.
pub fn get(arguments: GetArguments) -> Result<ExitCode> {
    let (key, range_end) = range_of(&arguments.key, arguments.range_end.as_deref(), &arguments.range);
    let request = RangeRequest {
        key,
        range_end,
        limit: arguments.limit,
        revision: arguments.rev,
        sort_order: match arguments.order {
            None => range_request::SortOrder::None,
            Some(Order::Ascend) => range_request::SortOrder::Ascend,
            Some(Order::Descend) => range_request::SortOrder::Descend,
        }
        .into(),
        sort_target: match arguments.sort_by {
            None | Some(SortBy::Key) => range_request::SortTarget::Key,
            Some(SortBy::Version) => range_request::SortTarget::Version,
            Some(SortBy::Create) => range_request::SortTarget::Create,
            Some(SortBy::Modify) => range_request::SortTarget::Mod,
            Some(SortBy::Value) => range_request::SortTarget::Value,
        }
        .into(),
        serializable: arguments.serializable,
        keys_only: arguments.keys_only,
        count_only: arguments.count_only,
        ..RangeRequest::default()
    };
    block_on(async {
        let mut client = KvClient::new(arguments.client.connect().await?).max_decoding_message_size(usize::MAX);
        let answer = client.range(request).await.map_err(|status| refusal(&status))?.into_inner();
        match arguments.client.output {
            OutputFormat::Text if arguments.count_only => println!("{}", answer.count),
            OutputFormat::Text => {
                print_pairs(&answer.kvs, arguments.keys_only)?;
                if answer.more {
                    eprintln!("{} of {} keys shown", answer.kvs.len(), answer.count);
                }
            }
            OutputFormat::Json => print_json(json!({
                "revision": revision(answer.header.as_ref()), "count": answer.count, "more": answer.more,
                "kvs": answer.kvs.iter().map(pair_json).collect::<Vec<_>>(),
            })),
        }
        if answer.count == 0 && !arguments.count_only {
            eprintln!("no such key");
            return Ok(ExitCode::from(1));
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// `quorate del`.
pub fn del(arguments: DelArguments) -> Result<ExitCode> {
    let (key, range_end) = range_of(&arguments.key, arguments.range_end.as_deref(), &arguments.range);
    block_on(async {
        let request = DeleteRangeRequest { key, range_end, prev_kv: arguments.prev_kv };
        let answer = if arguments.exactly_once {
            once(&arguments.client, async |session| session.delete_range(request).await).await?
        } else {
            let mut client = KvClient::new(arguments.client.connect().await?).max_decoding_message_size(usize::MAX);
            client.delete_range(request).await.map_err(|status| refusal(&status))?.into_inner()
        };
        match arguments.client.output {
            OutputFormat::Text => {
                println!("{} deleted, revision {}", answer.deleted, revision(answer.header.as_ref()));
                print_pairs(&answer.prev_kvs, false)?;
            }
            OutputFormat::Json => print_json(json!({
                "revision": revision(answer.header.as_ref()), "deleted": answer.deleted,
                "prev_kvs": answer.prev_kvs.iter().map(pair_json).collect::<Vec<_>>(),
            })),
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn revision(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

/// Keys and values as they are, a line each.
fn print_pairs(pairs: &[KeyValue], keys_only: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for pair in pairs {
        out.write_all(&pair.key)?;
        out.write_all(b"\n")?;
        if !keys_only {
            out.write_all(&pair.value)?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

fn print_json(document: Value) {
    println!("{document}");
}

/// Adds a text under this name; for what is no UTF-8 the readable part of it, and the whole in base64 beside it.
fn add_text(name: &str, bytes: &[u8], document: &mut Map<String, Value>) {
    document.insert(name.to_owned(), json!(String::from_utf8_lossy(bytes)));
    if std::str::from_utf8(bytes).is_err() {
        document.insert(format!("{name}_base64"), json!(BASE64_STANDARD.encode(bytes)));
    }
}

fn pair_json(pair: &KeyValue) -> Value {
    let mut document = Map::new();
    add_text("key", &pair.key, &mut document);
    add_text("value", &pair.value, &mut document);
    let numbers = [
        ("create_revision", pair.create_revision),
        ("mod_revision", pair.mod_revision),
        ("version", pair.version),
        ("lease", pair.lease),
    ];
    document.extend(numbers.map(|(name, number)| (name.to_owned(), json!(number))));
    Value::Object(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_greater_key() {
        assert_eq!(prefix_end(b"ab"), b"ac");
        assert_eq!(prefix_end(b"a\xff"), b"b");
        assert_eq!(prefix_end(b"\xff\xff"), b"\0");
        assert_eq!(prefix_end(b""), b"\0");
    }

    #[test]
    fn keys_and_values_are_always_strings_and_bytes_come_in_base64_beside_them() {
        let pair = KeyValue { key: "name".into(), value: vec![0xff, b'a'].into(), ..KeyValue::default() };
        let document = pair_json(&pair);
        assert_eq!((&document["key"], &document["value"]), (&json!("name"), &json!("\u{fffd}a")));
        assert_eq!(document["value_base64"], json!("/2E="));
        assert!(document.get("key_base64").is_none());
    }

    #[test]
    fn an_empty_prefix_is_everything() {
        let range = RangeArguments { prefix: true, from_key: false };
        assert_eq!(range_of("", None, &range), (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")));
    }
}
