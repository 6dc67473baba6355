"""Copy the blocks of a paged cache that attention reads into one tensor."""
