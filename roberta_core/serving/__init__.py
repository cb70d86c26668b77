"""The HTTP server `roberta serve`: the pipelines of one or more checkpoints behind HTTP, in any framework.

A request becomes rows of token ids; one worker thread for each network runs the rows of all requests in batches of
similar length within a budget of tokens; the results are those of the pipelines. Needs the extra `serve`.
"""
