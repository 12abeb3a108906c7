"""What operators do: orders into the ops topic, and what there is to be seen before and after.

Nothing here decides or stores. An operator's command writes orders, the workers carry them out in order with everything
else, and the command waits and reads what has come of it. So it is right beside any number of workers, and an
interrupted command leaves nothing half done: an order was written or it was not.
"""
