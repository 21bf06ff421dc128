"""Work over many samples, cut into shards of a fixed size: resumable, here or on a cluster, with one result."""
