//! The generated protobuf messages, service traits and clients, one module per protobuf package.
//!
//! Package, service and method names are etcd's, so [`etcdserverpb::kv_client::KvClient`] also talks to etcd itself.
#![allow(missing_docs, reason = "generated; the definitions in proto/ carry the comments")]
#![allow(clippy::all, reason = "generated")]

/// Pairs and events.
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// Parts of auth messages.
pub mod authpb {
    tonic::include_proto!("authpb");
}

/// KV, Watch, Lease, Cluster, Maintenance and Auth.
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// The lock service.
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}

/// The election service.
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

/// Quorate's own services, under their own package path.
pub mod quorate {
    /// Version 1, the only one there is.
    pub mod v1 {
        tonic::include_proto!("quorate.v1");
    }
}

/// The standard gRPC services, under their own package path.
pub mod grpc {
    /// The health protocol's package.
    pub mod health {
        /// Version 1, the only one there is.
        pub mod v1 {
            tonic::include_proto!("grpc.health.v1");
        }
    }
}
