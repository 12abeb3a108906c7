"""The loop between Kafka and Redis, and everything else that touches the world."""
