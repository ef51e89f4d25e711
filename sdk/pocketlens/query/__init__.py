"""Photo to verdict: tensor, embedding, lists, images, products."""
