//! The production platform: io_uring through glommio, one executor per core.
