"""Fine-tuning with Keras, as it is written for transformers 4.57.6."""

import json
import sys

import numpy as np
import tensorflow as tf
from transformers import RobertaTokenizerFast, TFRobertaForSequenceClassification

folder = sys.argv[1]
good = ["a warm and funny film", "the best meal of the year", "she sang beautifully", "what a lovely walk"]
bad = ["a dull and noisy film", "the soup was cold again", "he forgot every line", "it rained on all of us"]
labels = np.array([1, 0] * 4)

tokenizer = RobertaTokenizerFast.from_pretrained(folder)
model = TFRobertaForSequenceClassification.from_pretrained(folder, num_labels=2)
batch = tokenizer([text for pair in zip(good, bad, strict=True) for text in pair], padding=True, return_tensors="np")
inputs = dict(batch)

# With the model's own loss: compile() has none, and the labels are among the inputs.
dataset = tf.data.Dataset.from_tensor_slices({**inputs, "labels": labels}).batch(2)
model.compile(optimizer=tf.keras.optimizers.Adam(learning_rate=1e-4))
first = model.fit(dataset, epochs=2, verbose=0)

# With a loss and a metric of Keras.
dataset = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(4)
model.compile(
    optimizer=tf.keras.optimizers.SGD(learning_rate=1e-2),
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
second = model.fit(dataset, epochs=2, verbose=0)
scores = model.evaluate(dataset, verbose=0, return_dict=True)
output = model(inputs, output_hidden_states=True, training=False)

print(
    json.dumps(
        {
            "loss of fit, own": first.history["loss"],
            "loss of fit, Keras's": second.history["loss"],
            "accuracy of fit": second.history["accuracy"],
            "loss of evaluate": scores["loss"],
            "logits of predict": model.predict(dataset, verbose=0).logits.tolist(),
            "logits of a call": output.logits.numpy().tolist(),
            "hidden states": [state.numpy()[:, 0].tolist() for state in output.hidden_states],
        }
    )
)
