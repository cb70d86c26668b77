"""A script of the shape of the published TensorFlow examples: compile and fit."""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow as tf
import tf_keras
from transformers import (
    AutoTokenizer,
    DataCollatorWithPadding,
    PushToHubCallback,
    TFAutoModelForSequenceClassification,
    create_optimizer,
)

tokenizer = AutoTokenizer.from_pretrained("roberta-base")
model = TFAutoModelForSequenceClassification.from_pretrained("roberta-base", num_labels=2, from_pt=True)
data = model.prepare_tf_dataset([tokenizer("It rained.")], batch_size=1, collate_fn=DataCollatorWithPadding(tokenizer))
optimizer, schedule = create_optimizer(init_lr=1e-5, num_train_steps=10, num_warmup_steps=1)
model.compile(optimizer=optimizer)
model.fit(data, callbacks=[PushToHubCallback("out", tokenizer=tokenizer), tf_keras.callbacks.EarlyStopping()])
model.compile(optimizer=tf.keras.optimizers.Adam(lr=1e-5))
