"""Tables of labelled crops: readers, checks, splits, sampling, augmentation, batches."""
