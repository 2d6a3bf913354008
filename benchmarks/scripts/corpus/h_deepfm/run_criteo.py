import numpy as np
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import LabelEncoder

from deepfm import DeepFM

if __name__ == "__main__":
    data = pd.read_csv('./criteo_sample.txt')
    sparse = ['C' + str(i) for i in range(1, 27)]
    data[sparse] = data[sparse].fillna('-1')
    for feat in sparse:
        data[feat] = LabelEncoder().fit_transform(data[feat])
    X, y = data[sparse].values.astype(np.int64), data['label'].values
    n = int(.8 * len(X))
    model = DeepFM([int(data[f].nunique()) for f in sparse])
    model.compile(metrics={'auc': roc_auc_score, 'logloss': log_loss})
    model.fit(X[:n], y[:n], epochs=10, validation_split=0.2)
    pred = model.predict(X[n:])
    print('test LogLoss', round(log_loss(y[n:], pred), 4), 'AUC', round(roc_auc_score(y[n:], pred), 4))
