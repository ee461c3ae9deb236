//! A member's state as etcd's tools want it: blobs of bounded size, then their SHA-256.

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use sha2::{Digest, Sha256};
use tokio_stream::Stream;
use tonic::Status;

use crate::backend::Backup;
use crate::proto::etcdserverpb::{ResponseHeader, SnapshotResponse};

/// Largest blob, as in etcd.
const BLOB_BYTES: usize = 32 * 1024;
/// etcd's tools take a file for complete if it is a multiple of this and a digest. The gap is filled with zeros.
const PAGE_BYTES: u64 = 512;

struct Sending {
    header: ResponseHeader,
    backup: Backup,
    /// Taken from the backup and not sent.
    waiting: BytesMut,
    digest: Sha256,
    /// Still to come from the backup.
    announced_bytes: u64,
    padding_bytes: u64,
    /// Still to be sent before the digest.
    remaining_bytes: u64,
    ended: bool,
}

/// The blobs of a backup: `remaining_bytes` falls to 0, then the digest of all before follows in a blob of its own.
pub(crate) fn snapshot_stream(
    header: ResponseHeader,
    backup: Backup,
) -> impl Stream<Item = Result<SnapshotResponse, Status>> + Send + 'static {
    let announced_bytes = backup.total_bytes;
    let padding_bytes = announced_bytes.next_multiple_of(PAGE_BYTES) - announced_bytes;
    let sending = Sending {
        header,
        backup,
        waiting: BytesMut::new(),
        digest: Sha256::new(),
        announced_bytes,
        padding_bytes,
        remaining_bytes: announced_bytes + padding_bytes,
        ended: false,
    };
    stream::unfold(sending, |mut sending| async move {
        if sending.ended {
            return None;
        }
        let next = sending.next().await;
        sending.ended |= next.is_err();
        Some((next, sending))
    })
}

impl Sending {
    async fn next(&mut self) -> Result<SnapshotResponse, Status> {
        if self.remaining_bytes == 0 {
            self.ended = true;
            let digest = Bytes::copy_from_slice(&self.digest.clone().finalize());
            return Ok(self.response(digest));
        }
        while self.waiting.len() < BLOB_BYTES && self.announced_bytes > 0 {
            let Some(piece) = self.backup.pieces.recv().await else {
                return Err(Status::aborted("etcdserver: the snapshot broke off; it is not complete"));
            };
            let Some(left) = self.announced_bytes.checked_sub(piece.len() as u64) else {
                return Err(Status::internal("etcdserver: the snapshot is longer than announced"));
            };
            self.announced_bytes = left;
            self.waiting.extend_from_slice(&piece);
        }
        if self.announced_bytes == 0 && self.padding_bytes > 0 {
            let padded = self.waiting.len() + usize::try_from(self.padding_bytes).expect("below 512");
            self.waiting.resize(padded, 0);
            self.padding_bytes = 0;
        }
        let blob = self.waiting.split_to(self.waiting.len().min(BLOB_BYTES)).freeze();
        self.digest.update(&blob);
        self.remaining_bytes -= blob.len() as u64;
        Ok(self.response(blob))
    }

    fn response(&self, blob: Bytes) -> SnapshotResponse {
        let header = Some(self.header);
        SnapshotResponse { header, remaining_bytes: self.remaining_bytes, blob, version: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;
    use tokio_stream::StreamExt;

    async fn sent(total_bytes: u64, pieces: &[usize]) -> Vec<Result<SnapshotResponse, Status>> {
        let (sender, receiver) = mpsc::channel(pieces.len().max(1));
        for (number, length) in (1..).zip(pieces) {
            sender.send(Bytes::from(vec![number; *length])).await.unwrap();
        }
        drop(sender);
        let backup = Backup { total_bytes, pieces: receiver };
        snapshot_stream(ResponseHeader::default(), backup).collect().await
    }

    #[tokio::test]
    async fn blobs_are_bounded_and_counted_down_and_their_digest_follows() {
        let answers = sent(100_000, &[1, 99_000, 999]).await;
        let answers: Vec<SnapshotResponse> = answers.into_iter().map(Result::unwrap).collect();
        let (digest, blobs) = answers.split_last().unwrap();
        let data: Vec<u8> = blobs.iter().flat_map(|answer| answer.blob.to_vec()).collect();
        assert_eq!(data.len(), 100_352, "a multiple of 512");
        assert!(blobs.iter().all(|answer| answer.blob.len() <= BLOB_BYTES));
        assert_eq!(blobs[0].remaining_bytes, 100_352 - BLOB_BYTES as u64);
        assert_eq!(blobs.last().unwrap().remaining_bytes, 0);
        assert_eq!(digest.blob, Sha256::digest(&data).to_vec());
    }

    #[tokio::test]
    async fn a_backup_that_breaks_off_is_an_error_and_no_digest_follows() {
        let answers = sent(100_000, &[50_000]).await;
        assert_eq!(answers.len(), 2, "one full blob, then the refusal");
        assert_eq!(answers[1].as_ref().unwrap_err().code(), tonic::Code::Aborted);
    }

    #[tokio::test]
    async fn a_backup_longer_than_announced_is_refused() {
        let answers = sent(10, &[11]).await;
        assert_eq!(answers[0].as_ref().unwrap_err().code(), tonic::Code::Internal);
    }
}
