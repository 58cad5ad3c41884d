"""The stores: one suite that every object store passes, and what stands on them."""
