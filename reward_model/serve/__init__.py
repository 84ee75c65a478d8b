"""A server of rewards: requests of many clients → batches → rewards and probabilities."""
