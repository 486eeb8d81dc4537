"""What a CTR model needs: data versions, preprocessing, training, evaluation, and the steps that join them."""
