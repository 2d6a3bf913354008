import torch
import torch.nn.functional as F
from torch import nn
from sklearn.metrics import classification_report
from transformers import BertModel, BertTokenizer

from reviews import create_data_loader, df_test

PRE_TRAINED_MODEL_NAME = 'bert-base-cased'
class_names = ['negative', 'neutral', 'positive']
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
tokenizer = BertTokenizer.from_pretrained(PRE_TRAINED_MODEL_NAME)


class SentimentClassifier(nn.Module):
    def __init__(self, n_classes):
        super(SentimentClassifier, self).__init__()
        self.bert = BertModel.from_pretrained(PRE_TRAINED_MODEL_NAME)
        self.drop = nn.Dropout(p=0.3)
        self.out = nn.Linear(self.bert.config.hidden_size, n_classes)

    def forward(self, input_ids, attention_mask):
        pooled_output = self.bert(input_ids=input_ids, attention_mask=attention_mask).pooler_output
        return self.out(self.drop(pooled_output))


model = SentimentClassifier(len(class_names))
model.load_state_dict(torch.load('best_model_state.bin'))
model = model.to(device)


def get_predictions(model, data_loader):
    predictions, prediction_probs, real_values = [], [], []
    with torch.no_grad():
        for d in data_loader:
            outputs = model(input_ids=d["input_ids"].to(device), attention_mask=d["attention_mask"].to(device))  # expect: NA401
            _, preds = torch.max(outputs, dim=1)
            predictions.extend(preds)
            prediction_probs.extend(F.softmax(outputs, dim=1))
            real_values.extend(d["targets"])
    return torch.stack(predictions).cpu(), torch.stack(prediction_probs).cpu(), torch.stack(real_values).cpu()


y_pred, y_pred_probs, y_test = get_predictions(model, create_data_loader(df_test, tokenizer, 160, 16))
print(classification_report(y_test, y_pred, target_names=class_names))
